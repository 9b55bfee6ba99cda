// The epilogue that turns a tile of products into their gradient. With p = exp(scale * product - lse[i]), the gradient
// of row i and vocabulary entry v is
//
//   scale * (upstream[i] * ([v is the target] - p) + of_lse[i] * p)
//
// Rows with a negative target are ignored: their gradient is 0, even if their products are not finite.
#pragma once
#include "cuda/logits/logits.cuh"

namespace heddle {
namespace cuda {
namespace logits {

// A row's part of the gradient: of_softmax is multiplied by p, and of_target is added for the target.
struct RowTerms {
  float lse, of_softmax, of_target;
  int32_t target;
};

// Returns the terms of a row. Rows from N on are ignored.
__device__ inline RowTerms terms_of(const Gradient& g, int64_t row) {
  const int32_t target = row < g.of.N ? g.targets[row] : -1;
  if (target < 0) return {0.0f, 0.0f, 0.0f, -1};
  const float upstream = g.upstream[row], of_lse = g.of_lse ? g.of_lse[row] : 0.0f;
  return {g.lse[row], (of_lse - upstream) * g.scale, upstream * g.scale, target};
}

// Turns a lane's products in `fragments` fragments into the gradients of its two rows. `column` is the lane's first
// column in the vocabulary.
template <int fragments, class At>
__device__ inline void to_gradients(const RowTerms (&rows)[2], float scale, int64_t column, const At& at) {
  HEDDLE_UNROLL
  for (int half = 0; half < 2; ++half) {
    if (rows[half].target < 0) {
      HEDDLE_UNROLL
      for (int f = 0; f < fragments; ++f) at(f, half, 0) = at(f, half, 1) = 0.0f;
    }
  }
  HEDDLE_UNROLL
  for (int f = 0; f < fragments; ++f) {
    HEDDLE_UNROLL
    for (int half = 0; half < 2; ++half) {
      HEDDLE_UNROLL
      for (int e = 0; e < 2; ++e) {
        float& x = at(f, half, e);
        x = rows[half].of_softmax * ptx::power_of_two((x * scale - rows[half].lse) * log2_e);
      }
    }
  }
  HEDDLE_UNROLL
  for (int half = 0; half < 2; ++half) {
    const int64_t offset = rows[half].target - column;  // of the target from the lane's first column
    if (offset >= 0 && offset < 8 * fragments && offset % 8 < 2) {
      HEDDLE_UNROLL
      for (int f = 0; f < fragments; ++f) {
        HEDDLE_UNROLL
        for (int e = 0; e < 2; ++e)
          if (8 * f + e == offset) at(f, half, e) += rows[half].of_target;
      }
    }
  }
}

}  // namespace logits
}  // namespace cuda
}  // namespace heddle
