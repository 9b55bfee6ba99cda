// The inner loop of attention by mma.sync (Dao 2023, "FlashAttention-2"), for whole sequences and for long segments
// over the KV cache: the operand types, the ring of tiles in shared memory, and a warp's products with a tile.
#pragma once
#include "cuda/attention/attention_tensor.cuh"
#include "cuda/gemm/tensor_tile.cuh"

namespace heddle {
namespace cuda {

// The operand types of mma.sync. An f32 or bf16 value is represented as a sum of terms of such a type. terms_of_f32 and
// terms_of_bf16 are the numbers of terms.
struct Bf16 {
  static constexpr bool q8 = false, small_range = false;
  static constexpr int terms_of_f32 = 3, terms_of_bf16 = 1;  // a term has 8 bits of significand, f32 has 24
  __device__ static uint16_t round(float x) { return float_to_bf16(x); }
  __device__ static uint32_t round_two(float low, float high) { return pack_bf16(low, high); }
  __device__ static float widen(uint16_t bits) { return bf16_to_float(bits); }
  __device__ static void multiply(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    ptx::mma_bf16(c, a, b);
  }
};
struct F16 : Bf16 {
  static constexpr bool small_range = true;
  // A term has 11 bits of significand, so two represent nearly the 24 bits of f32. One term would suffice for bf16, but
  // would need another kernel.
  static constexpr int terms_of_f32 = 2, terms_of_bf16 = 2;
  __device__ static uint16_t round(float x) { return ptx::float_to_half(x); }
  __device__ static uint32_t round_two(float low, float high) {
    return round(low) | static_cast<uint32_t>(round(high)) << 16;
  }
  __device__ static float widen(uint16_t bits) { return ptx::half_to_float(bits); }
  __device__ static void multiply(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    ptx::mma_f16(c, a, b);
  }
};

// Splits two adjacent accumulator fragments, which have 16 columns, into terms of a left operand whose k are these
// columns. In both layouts, a lane holds the same elements. Leaves the remainders of the terms before the last one.
template <class Type, int terms>
__device__ inline void as_left_terms(uint32_t (&to)[terms][4], float (&first)[4], float (&second)[4]) {
  HEDDLE_UNROLL
  for (int term = 0; term < terms; ++term) {
    HEDDLE_UNROLL
    for (int i = 0; i < 4; ++i) {
      float(&four)[4] = i < 2 ? first : second;
      float &low = four[i % 2 * 2], &high = four[i % 2 * 2 + 1];
      to[term][i] = Type::round_two(low, high);
      if (term + 1 == terms) continue;
      low -= Type::widen(static_cast<uint16_t>(to[term][i])),
          high -= Type::widen(static_cast<uint16_t>(to[term][i] >> 16));
    }
  }
}

// Passes `count` tiles of keys and values through a ring of two stages in shared memory: one stage is filled while the
// warps read the other. copy(t) starts the copies of tile t to stage t % 2, and use(t) reads them. All warps of the
// block must call it.
constexpr int key_stages = 2;
template <class Copy, class Use> __device__ inline void for_key_tiles(int count, Copy copy, Use use) {
  if (count > 0) copy(0);
  ptx::commit_copies();
  for (int t = 0; t < count; ++t) {
    ptx::wait_copies<0>();
    // The copies of tile t by all threads are complete. All threads have read tile t - 1, so its stage can be filled.
    __syncthreads();
    if (t + 1 < count) copy(t + 1);
    ptx::commit_copies();
    use(t);
  }
  ptx::wait_copies<0>();
}

// The score of a key, times log2 e: product * factor[h] in the lane's row h, or cap * soft_cap(product * factor[h]) if
// cap is above 0.
struct TileScores {
  float factor[2], cap;

  // The queries of the lane's rows have been divided by these scales.
  __device__ TileScores(const Scores& s, float first_query_scale, float second_query_scale)
      : cap(s.softcap > 0 ? s.softcap * log2_e : 0.0f) {
    const float scale = s.softcap > 0 ? s.scale / s.softcap : s.scale * log2_e;
    factor[0] = scale * first_query_scale, factor[1] = scale * second_query_scale;
  }
};

// A warp's 16 query rows against tiles of `keys` keys. A lane has rows lane / 4 and lane / 4 + 8. `queries` has the
// terms of the rows' queries, (terms, block_rows, width), from the warp's first row on.
template <class Type, int terms, int width, int keys> struct QueryTile {
  float acc[width / 8][4] = {};  // weighted sums of values

  // Processes the tile whose first key is key0.
  template <int block_rows>
  __device__ void attend(RunningRows& rows, const RowSpan (&span)[2], const uint16_t* queries, const uint16_t* k_tile,
      const uint16_t* v_tile, int key0, const TileScores& scores) {
    constexpr int columns_s = keys / 8, columns_o = width / 8;  // 8-column fragments of S and of O
    float s[columns_s][4] = {};
    HEDDLE_UNROLL_BY(width > 128 ? 4 : width / 16)  // leaves registers for the 256 columns of O
    for (int d = 0; d < width; d += 16) {
      uint32_t left[terms][4];
      HEDDLE_UNROLL
      for (int term = 0; term < terms; ++term) load_left<width>(left[term], queries + term * block_rows * width, 0, d);
      HEDDLE_UNROLL
      for (int j = 0; j < columns_s; j += 2) {
        uint32_t right[2][2];
        load_right<width>(right[0], right[1], k_tile, j * 8, d);
        HEDDLE_UNROLL
        for (int term = terms - 1; term >= 0; --term) {  // small terms first
          Type::multiply(s[j], left[term], right[0]);
          Type::multiply(s[j + 1], left[term], right[1]);
        }
      }
    }

    HEDDLE_UNROLL
    for (int j = 0; j < columns_s; ++j) {
      HEDDLE_UNROLL
      for (int e = 0; e < 4; ++e) s[j][e] *= scores.factor[e / 2];
    }
    if (scores.cap > 0) {
      HEDDLE_UNROLL
      for (int j = 0; j < columns_s; ++j) {
        HEDDLE_UNROLL
        for (int e = 0; e < 4; ++e) s[j][e] = scores.cap * soft_cap(s[j][e]);
      }
    }
    const int own_key = key0 + threadIdx.x % 4 * 2;
    float now[2] = {rows.largest[0], rows.largest[1]};
    HEDDLE_UNROLL
    for (int j = 0; j < columns_s; ++j) {
      HEDDLE_UNROLL
      for (int e = 0; e < 4; ++e) {
        const int key = own_key + 8 * j + e % 2;
        const RowSpan& own = span[e / 2];
        s[j][e] = key >= own.first && key < own.last ? s[j][e] : -INFINITY;
        now[e / 2] = fmaxf(now[e / 2], s[j][e]);
      }
    }
    float kept[2], base[2];
    rows.raise(now, 1.0f, kept, base);
    HEDDLE_UNROLL
    for (int j = 0; j < columns_s; ++j) {
      HEDDLE_UNROLL
      for (int e = 0; e < 4; ++e) {
        s[j][e] = ptx::power_of_two(s[j][e] - base[e / 2]);
        rows.sum[e / 2] += s[j][e];
      }
    }
    HEDDLE_UNROLL
    for (int j = 0; j < columns_o; ++j) {
      HEDDLE_UNROLL
      for (int e = 0; e < 4; ++e) acc[j][e] *= kept[e / 2];
    }
    HEDDLE_UNROLL
    for (int i = 0; i < columns_s; i += 2) {
      uint32_t left[terms][4];
      as_left_terms<Type, terms>(left, s[i], s[i + 1]);
      HEDDLE_UNROLL
      for (int j = 0; j < columns_o; j += 2) {
        uint32_t right[2][2];
        load_right_transposed<width>(right[0], right[1], v_tile, j * 8, i * 8);
        HEDDLE_UNROLL
        for (int term = terms - 1; term >= 0; --term) {
          Type::multiply(acc[j], left[term], right[0]);
          Type::multiply(acc[j + 1], left[term], right[1]);
        }
      }
    }
  }
};

}  // namespace cuda
}  // namespace heddle
