// The operands of expert products, for the kernels on CUDA cores (experts.cu) and on tensor cores (experts_tensor.cu).
#pragma once
#include "cuda/runtime/choice.h"
#include "cuda/rows/math.cuh"

namespace heddle {
namespace cuda {

// The pairs of a row and an expert, sorted by expert. order[begin[e]] to order[begin[e + 1] - 1] are the pairs of
// expert e, in ascending order. rows[i] is the row of x that belongs to pair order[i].
struct Groups {
  const int32_t *begin, *order, *rows;  // (E + 1), (pairs), (pairs)
  int64_t experts;
};

// y[p] (M) = x[row of p] (K) w[expert of p] + bias[expert of p]. w is (E, M, K) if w_transposed, otherwise (E, K, M).
// A launch may compute a strip of y's columns, for a range of experts.
struct Products {
  View x, w, bias;
  Out y;
  const int32_t* experts;                // (pairs)
  int64_t pairs, E, M, K, slots, pitch;  // pitch: elements of a row of y and of the bias
  bool per_slot;                         // x has one row per pair (N, k, K), instead of (N, K)
  bool w_transposed;                     // w is (E, M, K)
  Fault fault;
  int terms = 0;  // terms of each decoded weight (decoded_weights.h), all in w; 0: w has the weights themselves

  __device__ int64_t x_row(int64_t pair) const { return per_slot ? pair : pair / slots; }
  __device__ void store(int64_t pair, int32_t expert, int64_t m, float v) const {
    y.store(pair * pitch + m, bias.data ? v + bias[expert * pitch + m] : v);
  }
};

// dw (E, M, K): for each expert, the sum over its pairs of dy^T x.
struct WeightGradients {
  View dy, x;
  float* dw;
  int64_t E, M, K;
};

// Launch the kernels on tensor cores, with the tiles of `choice`.
void experts_tensor(
    const Context& context, const char* name, const Products& a, const Groups& groups, const ExpertChoice& choice);
void expert_gradients_tensor(const Context& context, const char* name, const WeightGradients& a, const Groups& groups,
    const ExpertChoice& choice);

}  // namespace cuda
}  // namespace heddle
