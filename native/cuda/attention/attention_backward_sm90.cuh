// Parts of attention_backward_sm90.cu: the layouts of shared memory and scratch, the products of a warpgroup, and the
// softmax between the products.
#pragma once
#include "cuda/attention/attention_backward.cuh"
#include "cuda/attention/attention_tensor.cuh"
#include "cuda/gemm/sm90_tiles.cuh"
#include "cuda/runtime/tensor_map.h"
#include "cuda/gemm/tensor_tile.cuh"

namespace heddle {
namespace cuda {
namespace gradient {

constexpr int consumers = 2, threads = (1 + consumers) * warpgroup, keys = consumers * 64, queries = 64;
// A part of dq: (64 queries, 64 columns), which one warpgroup computes.
constexpr int part_floats = queries * 64, part_bytes = part_floats * static_cast<int>(sizeof(float));
constexpr int producer_registers = 24, consumer_registers = 240;  // registers per thread
static_assert(ptx::registers_fit<threads>(producer_registers + consumers * consumer_registers),
    "the warpgroups may use no more registers than the block was launched with");

// Precomputed values of a tile's queries for one head. The lse of queries that see no key, and of queries beyond the
// sequence, is infinite, so that their weights are 0.
struct alignas(16) QueryStats {
  float lse[queries], delta[queries];     // lse: log-sum-exp in base 2
  int32_t first[queries], last[queries];  // range of keys that each query sees
};
// The key blocks [first, last) that the queries of a tile see. It is the same for all heads.
struct alignas(8) KeyBlocks {
  int32_t first, last;
};

// The configuration of a block. In shared memory, tiles of keys and values (128, width) and of queries (64, width)
// consist of adjacent boxes of 64 columns. dS' (128, 64) is one box. With two boxes, each warpgroup computes one box of
// dq. With one box, the warpgroups alternate from step to step.
template <int width_> struct Plan {
  static constexpr int width = width_, boxes = ceil_div(width, 64), stages = boxes > 1 ? 2 : 4;
  static constexpr int key_box = keys * line_bytes, key_bytes = boxes * key_box;
  static constexpr int query_box = queries * line_bytes, query_bytes = boxes * query_box,
                       stage_bytes = 2 * query_bytes + static_cast<int>(sizeof(QueryStats));
  static constexpr int ds_bytes = keys * line_bytes;
  // The last group_bytes are for the alignment of the first tile.
  static constexpr size_t shared_bytes =
      2 * key_bytes + stages * stage_bytes + 2 * ds_bytes + consumers * part_bytes + group_bytes;
  // Returns the index of a step's part of dq among the parts that the same warpgroup computes.
  __device__ static int part_of(int step) { return boxes > 1 ? step : step / consumers; }
  static_assert(boxes == 1 || boxes == consumers, "each warpgroup computes one box of dq, or they alternate");
  static_assert(stage_bytes % group_bytes == 0, "every stage must begin at a multiple of group_bytes");
};

// The arguments of the kernels: the operands, and the scratch.
struct Gradient {
  BackwardArguments a;
  int32_t tiles;  // tiles of queries per sequence
  int32_t sequences;
  int32_t interleaved;    // key heads, of all sequences, whose blocks of keys alternate
  KeyBlocks* key_blocks;  // (sequences, tiles)
  QueryStats* stats;      // (H, sequences, tiles)
  float* sums;            // (H, sequences, tiles, boxes, part_floats): dq, in the register layout of wgmma
  int32_t* blocks_added;  // (H, sequences, tiles): number of key blocks that have added their part
  int32_t* next_block;    // counter from which thread blocks take their numbers

  // Returns the index of a head's tile in stats, sums and blocks_added. It fits in 32 bits, because memory is too small
  // for 2^31 tiles of 16 KB of sums.
  __device__ int32_t tile_of(int head, int sequence, int tile) const {
    return (head * sequences + sequence) * tiles + tile;
  }
};
struct Maps {
  CUtensorMap q, dout, k, v;
};

#if HEDDLE_SM90A
// Starts the copies of a tile of `boxes` boxes with `bytes` bytes each.
template <int boxes, int bytes>
__device__ inline void copy(
    unsigned char* tile, const CUtensorMap* map, int head, int row, int sequence, uint64_t* full) {
  // Not unrolled, because the copying threads have few registers.
  HEDDLE_ROLLED
  for (int i = 0; i < boxes; ++i) ptx::copy_box(tile + i * bytes, map, 64 * i, head, row, sequence, full);
}

// Issues sum (64 keys, 64 queries) = own other', where `own` is (64 keys, width) and `other` (64 queries, width).
template <class P>
__device__ inline void multiply_rows(float (&sum)[queries / 2], const unsigned char* own, const unsigned char* other) {
  ptx::fence_products();
  HEDDLE_UNROLL
  for (int d = 0; d < P::width / 16; ++d)
    ptx::multiply_tiles<false, false>(sum,
        ptx::describe_tile(own + d / 4 * P::key_box + d % 4 * 32, ptx::k_major, group_bytes),
        ptx::describe_tile(other + d / 4 * P::query_box + d % 4 * 32, ptx::k_major, group_bytes), d > 0);
  ptx::commit_products();
}
// Issues sum (64 keys, width) += left (64 keys, 64 queries) other (64 queries, width), with `left` in registers.
template <class P>
__device__ inline void add_products(
    float (&sum)[P::width / 2], const uint32_t (&left)[queries / 16][4], const unsigned char* other) {
  ptx::fence_products();
  HEDDLE_UNROLL
  for (int i = 0; i < queries / 16; ++i)
    ptx::multiply_registers<true>(
        sum, left[i], ptx::describe_tile(other + i * 16 * line_bytes, P::query_box, group_bytes), true);
  ptx::commit_products();
}
// Issues part (64 queries, 64 columns) = ds' own. `ds` is (128 keys, 64 queries). `own` is a box of the keys (128 keys,
// 64 columns). Both operands are MN-major tiles of one box, so their leading offsets are not used.
__device__ inline void multiply_ds(float (&part)[32], const unsigned char* ds, const unsigned char* own) {
  ptx::fence_products();
  HEDDLE_UNROLL
  for (int i = 0; i < keys / 16; ++i)
    ptx::multiply_tiles<true, true>(part, ptx::describe_tile(ds + i * 16 * line_bytes, 0, group_bytes),
        ptx::describe_tile(own + i * 16 * line_bytes, 0, group_bytes), i > 0);
  ptx::commit_products();
}

// Turns s, a warpgroup's S' (64 keys, 64 queries), into P' times the derivative of softcap. The factor `scale` of dq
// and dk is applied later. p receives P' itself, rounded to bf16. A lane has the keys `key` and key + 8, and two of
// every eight queries.
template <bool masked, bool capped>
__device__ inline void softmax_tile(
    float (&s)[queries / 2], uint32_t (&p)[queries / 16][4], const QueryStats& stats, int key, const Scores& scores) {
  const float to_power = (capped ? scores.softcap : scores.scale) * log2_e,
              to_cap = capped ? scores.scale / scores.softcap : 0.0f;
  HEDDLE_UNROLL
  for (int j = 0; j < queries / 8; ++j) {
    const int query = 8 * j + threadIdx.x % 4 * 2;
    const float lse[2] = {stats.lse[query], stats.lse[query + 1]};
    int32_t first[2] = {0, 0}, last[2] = {0, 0};
    if (masked)
      first[0] = stats.first[query], first[1] = stats.first[query + 1], last[0] = stats.last[query],
      last[1] = stats.last[query + 1];
    HEDDLE_UNROLL
    for (int h = 0; h < 2; ++h) {
      float weight[2];
      HEDDLE_UNROLL
      for (int e = 0; e < 2; ++e) {
        float& own = s[4 * j + 2 * h + e];
        const float value = capped ? soft_cap(own * to_cap) : own;
        weight[e] = ptx::power_of_two(value * to_power - lse[e]);
        if (masked && (key + 8 * h < first[e] || key + 8 * h >= last[e])) weight[e] = 0;
        own = capped ? weight[e] * (1.0f - value * value) : weight[e];  // tanh' = 1 - tanh^2
      }
      p[j / 2][j % 2 * 2 + h] = pack_bf16(weight[0], weight[1]);
    }
  }
}

// Whether every query of the tile sees all of the block's keys, the first of which is `key`. This is so for most tiles.
// All lanes of a warp must call it.
__device__ inline bool is_fully_visible(const QueryStats& stats, int key) {
  const int lane = threadIdx.x % warp_size;
  const auto sees = [&](int query) { return stats.first[query] <= key && stats.last[query] >= key + keys; };
  return __ballot_sync(all_lanes, sees(lane) && sees(lane + warp_size)) == all_lanes;
}

// Stores the lane's elements of sum (64 keys, width), times `factor`, to rows `row` and row + 8 of x (rows, heads, D).
template <int registers>
__device__ inline void store_rows(const Out& x, const float (&sum)[registers], float factor, int64_t row, int64_t end,
    int64_t heads, int64_t head, int64_t D) {
  HEDDLE_UNROLL
  for (int h = 0; h < 2; ++h) {
    if (row + 8 * h >= end) continue;
    uint16_t* to = static_cast<uint16_t*>(x.data) + ((row + 8 * h) * heads + head) * D + threadIdx.x % 4 * 2;
    HEDDLE_UNROLL
    for (int j = 0; j < registers / 4; ++j)
      if (8 * j < D)
        *reinterpret_cast<uint32_t*>(to + 8 * j) =
            pack_bf16(sum[4 * j + 2 * h] * factor, sum[4 * j + 2 * h + 1] * factor);
  }
}
#endif

}  // namespace gradient
}  // namespace cuda
}  // namespace heddle
