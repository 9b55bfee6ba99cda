// The epilogue that reduces a tile of logits to a part of each row's softmax, after Milakov & Gimelshein 2018, "Online
// normalizer calculation for softmax".
#pragma once
#include "cuda/logits/logits.cuh"

namespace heddle {
namespace cuda {
namespace logits {

// Returns the target of a row. Rows from N on have none.
__device__ inline int32_t target_of(const Softmax& s, int64_t row) { return row < s.of.N ? s.targets[row] : -1; }

// Turns a lane's products into logits. `column` is the lane's first column. Columns from V on become -inf.
template <int fragments, class At> __device__ inline void to_logits(const Softmax& s, int64_t column, const At& at) {
  const auto each = [&](auto use) {
    HEDDLE_UNROLL
    for (int f = 0; f < fragments; ++f) {
      HEDDLE_UNROLL
      for (int e = 0; e < 2; ++e) {
        HEDDLE_UNROLL
        for (int half = 0; half < 2; ++half) use(at(f, half, e), column + 8 * f + e);
      }
    }
  };
  if (s.bias) each([&](float& x, int64_t v) { x += v < s.of.V ? s.bias[v] : 0.0f; });
  const FastScores scores(s.scores);
  if (s.scores.softcap > 0) each([&](float& x, int64_t) { x = scores.cap * soft_cap(x * scores.factor); });
  else each([&](float& x, int64_t) { x *= scores.factor; });
  if (column + 8 * fragments > s.of.V) each([&](float& x, int64_t v) { x = v < s.of.V ? x : -INFINITY; });
}

// Reduces a lane's products in `fragments` fragments to the parts of its two rows, which have these targets. All lanes
// of the warp must call it. The four lanes of a row get the same part. `row` and `column` are the lane's first ones.
// Stores the logits of targets among the lane's columns.
template <int fragments, class At>
__device__ inline void reduce_logits(
    const Softmax& s, int64_t row, int64_t column, const int32_t (&targets)[2], Part (&parts)[2], const At& at) {
  to_logits<fragments>(s, column, at);
  float most[2][2] = {{-INFINITY, -INFINITY}, {-INFINITY, -INFINITY}}, sums[2][2] = {};
  HEDDLE_UNROLL
  for (int f = 0; f < fragments; ++f) {
    HEDDLE_UNROLL
    for (int half = 0; half < 2; ++half) {
      HEDDLE_UNROLL
      for (int e = 0; e < 2; ++e) most[half][e] = fmaxf(most[half][e], at(f, half, e));
    }
  }
  float base[2];
  HEDDLE_UNROLL
  for (int half = 0; half < 2; ++half) {
    parts[half].largest = quad_max(fmaxf(most[half][0], most[half][1]));
    base[half] = base_of(parts[half].largest);
    const int64_t offset = targets[half] - column;  // of the target from the lane's first column
    if (offset >= 0 && offset < 8 * fragments && offset % 8 < 2) {
      HEDDLE_UNROLL
      for (int f = 0; f < fragments; ++f) {
        HEDDLE_UNROLL
        for (int e = 0; e < 2; ++e)
          if (8 * f + e == offset) s.of_target[row + 8 * half] = at(f, half, e);
      }
    }
  }
  HEDDLE_UNROLL
  for (int f = 0; f < fragments; ++f) {
    HEDDLE_UNROLL
    for (int half = 0; half < 2; ++half) {
      HEDDLE_UNROLL
      for (int e = 0; e < 2; ++e) sums[half][e] += ptx::power_of_two((at(f, half, e) - base[half]) * log2_e);
    }
  }
  HEDDLE_UNROLL
  for (int half = 0; half < 2; ++half) parts[half].sum = quad_sum(sums[half][0] + sums[half][1]);
}

}  // namespace logits
}  // namespace cuda
}  // namespace heddle
