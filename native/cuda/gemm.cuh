// Matrix products: what linear layers, experts and the log-probability of a token are made of.
#pragma once
#include "cuda/math.cuh"

namespace heddle {
namespace cuda {

// c (m, n) = a (m, k) b (k, n) + bias (n), or added to what c holds. Sums are in f32.
struct Gemm {
  View a, b, bias;     // bias.data may be null
  Out c;
  int64_t m, n, k;
  int64_t lda, ldb, ldc;            // elements between rows as stored
  bool a_transposed, b_transposed;  // stored (k, m), (n, k)
  bool accumulate;
};

// Exactly one order of additions for each (k): a row of c does not depend on how many rows there are.
void gemm(const Context& context, const char* name, const Gemm& g);

}  // namespace cuda
}  // namespace heddle
