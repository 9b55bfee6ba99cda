// A block of attention's gradients on sm_90a (attention_backward_sm90.cu): the layout of shared memory and scratch, the
// products of its warpgroups, and the computation on scores between them.
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
// of dq: (64 queries, 64 columns), a warpgroup's product
constexpr int part_floats = queries * 64, part_bytes = part_floats * static_cast<int>(sizeof(float));
constexpr int copying = 24, multiplying = 240;  // registers of the warpgroups' threads
static_assert(ptx::registers_fit<threads>(copying + consumers * multiplying),
    "no more registers than the block was launched with");

// Precomputed values of a tile's queries for one head. Queries that see nothing, and those beyond the sequence, have an
// infinite lse, which makes their weights 0.
struct alignas(16) QueryFacts {
  float lse[queries], mean[queries];      // lse: as a power of two
  int32_t first[queries], last[queries];  // the keys that each sees
};
// And of all heads: the blocks of keys [first, last) that some query sees a key of.
struct alignas(8) TileFacts {
  int32_t first, last;
};

// Tiles of keys and values (128, width) and of queries (64, width) consist of adjacent boxes of 64 columns. dS' (128,
// 64) is one box. Each warpgroup computes one box of columns of dq. If there is only one box, the warpgroups alternate
// by tile.
template <int width_> struct Plan {
  static constexpr int width = width_, boxes = (width + 63) / 64, stages = boxes > 1 ? 2 : 4;
  static constexpr int own_box = keys * line_bytes, own_bytes = boxes * own_box;
  static constexpr int other_box = queries * line_bytes, other_bytes = boxes * other_box,
                       stage_bytes = 2 * other_bytes + static_cast<int>(sizeof(QueryFacts));
  static constexpr int weight_bytes = keys * line_bytes;
  // the beginning is rounded up
  static constexpr size_t shared =
      2 * own_bytes + stages * stage_bytes + 2 * weight_bytes + consumers * part_bytes + group_bytes;
  __device__ static int part_of(int step) { return boxes > 1 ? step : step / consumers; }  // a warpgroup's number of it
  static_assert(boxes == 1 || boxes == consumers, "parts of dq");
  static_assert(stage_bytes % group_bytes == 0, "tiles begin at multiples");
};

struct Gradient {
  BackwardArguments a;
  int32_t tiles;  // of a sequence's queries
  int32_t sequences;
  TileFacts* seen;    // (sequences, tiles)
  QueryFacts* facts;  // (H, sequences, tiles)
  float* sums;        // (H, sequences, tiles, boxes, part_floats): dq, as the lanes of wgmma have it
  int32_t* added;     // (H, sequences, tiles): how many blocks have
  int32_t* number;    // of the next block

  // All heads' tiles are fewer than 2^31, as each has 16 KB of sums.
  __device__ int32_t tile_of(int head, int sequence, int tile) const {
    return (head * sequences + sequence) * tiles + tile;
  }
};
struct Maps {
  CUtensorMap q, dout, k, v;
};

#if HEDDLE_SM90A
// Copies a tile of `boxes` boxes of `bytes` bytes each.
template <int boxes, int bytes>
__device__ inline void copy(
    unsigned char* tile, const CUtensorMap* map, int head, int row, int sequence, uint64_t* full) {
  HEDDLE_ROLLED  // few registers are left here
      for (int i = 0; i < boxes; ++i) ptx::copy_box(tile + i * bytes, map, 64 * i, head, row, sequence, full);
}

// Asks for sum (64, queries) = own (64 keys) other'.
template <class P>
__device__ inline void multiply_rows(float (&sum)[queries / 2], const unsigned char* own, const unsigned char* other) {
  ptx::fence_products();
  HEDDLE_UNROLL
  for (int d = 0; d < P::width / 16; ++d)
    ptx::multiply_tiles<false, false>(sum, ptx::describe_tile(own + d / 4 * P::own_box + d % 4 * 32, 0, group_bytes),
        ptx::describe_tile(other + d / 4 * P::other_box + d % 4 * 32, 0, group_bytes), d > 0);
  ptx::commit_products();
}
// Asks for sum (64 keys, width) += left (64, queries) other.
template <class P>
__device__ inline void add_products(
    float (&sum)[P::width / 2], const uint32_t (&left)[queries / 16][4], const unsigned char* other) {
  ptx::fence_products();
  HEDDLE_UNROLL
  for (int i = 0; i < queries / 16; ++i)
    ptx::multiply_registers<true>(
        sum, left[i], ptx::describe_tile(other + i * 16 * line_bytes, P::other_box, group_bytes), true);
  ptx::commit_products();
}
// Asks for part (64 queries, 64) = weights (128 keys, 64 queries)' own (128 keys, 64 columns).
__device__ inline void multiply_weights(float (&part)[32], const unsigned char* weights, const unsigned char* own) {
  ptx::fence_products();
  HEDDLE_UNROLL
  for (int i = 0; i < keys / 16; ++i)
    ptx::multiply_tiles<true, true>(part, ptx::describe_tile(weights + i * 16 * line_bytes, 0, group_bytes),
        ptx::describe_tile(own + i * 16 * line_bytes, 0, group_bytes), i > 0);
  ptx::commit_products();
}

// s holds a warpgroup's S' (64 keys, queries), and becomes the weights times the score's derivative without the scale.
// p receives the rounded weights. A lane has the keys `key` and key + 8, and two of every eight queries.
template <bool masked, bool capped>
__device__ inline void weigh(
    float (&s)[queries / 2], uint32_t (&p)[queries / 16][4], const QueryFacts& facts, int key, const Scores& scores) {
  const float to_power = (capped ? scores.softcap : scores.scale) * log2_e,
              to_cap = capped ? scores.scale / scores.softcap : 0.0f;
  HEDDLE_UNROLL
  for (int j = 0; j < queries / 8; ++j) {
    const int query = 8 * j + threadIdx.x % 4 * 2;
    const float lse[2] = {facts.lse[query], facts.lse[query + 1]};
    int32_t first[2] = {0, 0}, last[2] = {0, 0};
    if (masked)
      first[0] = facts.first[query], first[1] = facts.first[query + 1], last[0] = facts.last[query],
      last[1] = facts.last[query + 1];
    HEDDLE_UNROLL
    for (int h = 0; h < 2; ++h) {
      float weight[2];
      HEDDLE_UNROLL
      for (int e = 0; e < 2; ++e) {
        float& own = s[4 * j + 2 * h + e];
        const float bent = capped ? soft_cap(own * to_cap) : own;
        weight[e] = ptx::power_of_two(bent * to_power - lse[e]);
        if (masked && (key + 8 * h < first[e] || key + 8 * h >= last[e])) weight[e] = 0;
        own = capped ? weight[e] * (1.0f - bent * bent) : weight[e];
      }
      p[j / 2][j % 2 * 2 + h] = pack_bf16(weight[0], weight[1]);
    }
  }
}

// Whether every query sees all of the block's keys, as of most tiles it does. For whole warps.
__device__ inline bool seen_whole(const QueryFacts& facts, int key) {
  const int lane = threadIdx.x % warp_size;
  const auto sees = [&](int query) { return facts.first[query] <= key && facts.last[query] >= key + keys; };
  return __ballot_sync(all_lanes, sees(lane) && sees(lane + warp_size)) == all_lanes;
}

// A lane's part of (64 keys, width) sums, times `factor`, to x (rows, heads, D); its first row and the eighth after it.
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
