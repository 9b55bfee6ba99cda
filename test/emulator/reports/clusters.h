// Tests of clusters of two blocks: the order of their operations, and which errors are fatal.
#pragma once
#include "checks.h"
#include "cuda/ptx/ptx_cluster.cuh"
#include "cuda/runtime/tensor_map.h"

namespace heddle {

// Options of a pair of blocks that multiply a tile by itself, twice. Each block copies half of the tile to both blocks.
// false omits a step. With `own`, a thread arrives at the barrier of its own block instead of the other block's.
struct PairSteps {
  bool fence = true, begin = true, wait_empty = true, arrive_own = true, arrive_other = true, end = true;
  bool own = false;
  uint16_t blocks = 3;
  unsigned bytes = sizeof(Lines);
};
inline void one_pair(const PairSteps& step, const CUtensorMap& map, float* sums) {
  namespace ptx = cuda::ptx;
  HEDDLE_SHARED(Lines, tile, [1]);
  HEDDLE_SHARED(uint64_t, full, [1]);
  HEDDLE_SHARED(uint64_t, empty, [1]);
  const int rank = static_cast<int>(blockIdx.x % 2);
  if (threadIdx.x == 0) {
    ptx::init_barrier(full, 1);
    ptx::init_barrier(empty, 2 * 4);
    if (step.fence) ptx::fence_async();
  }
  if (step.begin) ptx::sync_cluster();
  else __syncthreads();
  if (threadIdx.x == 0) {
    for (unsigned n = 0; n < 2; ++n) {
      if (step.wait_empty) ptx::wait_barrier(empty, n ^ 1);
      ptx::arrive_expecting(full, step.bytes);
      ptx::copy_box_to(reinterpret_cast<char*>(tile) + rank * sizeof(Lines) / 2, &map, 0, 32 * rank, full, step.blocks);
    }
  } else if (threadIdx.x >= 128) {
    float sum[64] = {};
    for (unsigned n = 0; n < 2; ++n) {
      ptx::wait_barrier(full, n);
      ptx::fence_products();
      ptx::multiply_tiles<false, false>(sum, ptx::describe_tile(tile, 0, 1024), ptx::describe_tile(tile, 0, 0), true);
      ptx::commit_products();
      ptx::wait_products<0>();
      if (threadIdx.x % 32 == 0 && step.arrive_own) ptx::arrive(empty);
      if (threadIdx.x % 32 == 0 && step.arrive_other) ptx::arrive_at(empty, step.own ? rank : 1 - rank);
    }
    if (threadIdx.x == 128) sums[blockIdx.x] = sum[0];
  }
  if (step.end) ptx::sync_cluster();
}

inline void test_clusters() {
  for (uint16_t& v : ones) v = to_bf16(1.0f).bits;
  const CUtensorMap map = cuda::map_of_matrix(ones, 64, 64, 64, 32);
  float sums[4];
  const auto failure = [&](const PairSteps& steps) -> std::string {
    try {
      emulator::run_grid("pairs", {4}, {256}, 0, [&] { one_pair(steps, map, sums); }, false, 2);
    } catch (const Error& e) {
      return e.what();
    }
    return "";
  };
  for (const char* order : {"lazy", "eager", "random:1", "random:5"}) {
    setenv("HEDDLE_EMULATOR", order, 1);
    for (float& s : sums) s = 0;
    expect(failure({}).empty(), "clusters: two pairs of blocks run without an error");
    for (const float s : sums) expect(s == 32, "clusters: the product of a tile that two blocks have copied");
    const auto broken = [&](const char* what, auto change) {
      PairSteps steps;
      change(steps);
      const std::string seen = failure(steps);
      if (seen.find(what) == std::string::npos)
        std::printf("FAILED clusters, %s: expected \"%s\", got \"%s\"\n", order, what, seen.c_str()), ++failures;
    };
    broken("is not followed by fence.proxy.async", [](PairSteps& s) { s.fence = false; });
    broken("barrier", [](PairSteps& s) { s.begin = false; });  // uninitialized, or not ordered
    expect(!failure({true, true, false}).empty(), "clusters: an error if a copy does not wait for the readers");
    broken("wait in mbarrier.try_wait", [](PairSteps& s) { s.arrive_own = false; });
    broken("wait in mbarrier.try_wait", [](PairSteps& s) { s.arrive_other = false; });
    expect(!failure({true, true, true, true, true, true, true}).empty(),
        "clusters: an error if a thread arrives at its own block instead of the other one");
    broken("the cluster", [](PairSteps& s) { s.end = false; });
    broken("mask 0", [](PairSteps& s) { s.blocks = 0; });
    broken("the cluster has no block 2", [](PairSteps& s) { s.blocks = 7; });
    broken("wait in mbarrier.try_wait", [](PairSteps& s) { s.blocks = 1; });
    expect(!failure({true, true, true, true, true, true, false, 3, sizeof(Lines) / 2}).empty(),
        "clusters: an error if a barrier expects only half of the copied bytes");
    expect(!failure({true, true, true, true, true, true, false, 2}).empty(),
        "clusters: an error if all copies go to block 1");
  }
  setenv("HEDDLE_EMULATOR", "lazy", 1);
  const auto run = [](unsigned blocks, unsigned cluster, auto body) {
    emulator::run_grid("broken", {blocks}, {64}, 0, body, false, cluster);
  };
  int arrived = 0, seen = 0;
  run(2, 2, [&] {
    if (threadIdx.x % 3 == 2) return;  // threads that have ended count as arrived
    ++arrived;
    cuda::ptx::sync_cluster();
    seen += arrived == 2 * 43;
    cuda::ptx::sync_cluster();
  });
  expect(seen == 2 * 43, "barrier.cluster: waits for all threads of both blocks");
  const auto is_fatal = [&](const char* what, unsigned blocks, unsigned cluster, auto body) {
    std::string message;
    try {
      run(blocks, cluster, body);
    } catch (const Error& e) {
      message = e.what();
    }
    if (message.find(what) == std::string::npos)
      std::printf("FAILED expected \"%s\", got \"%s\"\n", what, message.c_str()), ++failures;
  };
  is_fatal("wait in barrier.cluster.wait", 2, 2, [] {
    if (blockIdx.x == 0) cuda::ptx::sync_cluster();
    else if (threadIdx.x < 32) cuda::ptx::sync_named(1, 64);
  });
  is_fatal("that divide the grid", 3, 2, [] {});
  is_fatal("clusters of 1 to 8 blocks", 16, 16, [] {});
}

}  // namespace heddle
