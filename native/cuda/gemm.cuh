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
  bool rowwise = false;  // a row of c must not depend on how many rows there are
};

// Queues the product on the kernel that choose_gemm names.
void gemm(const Context& context, const char* name, const Gemm& g);

enum class GemmKernel {
  few_rows,        // a warp an element of c
  multiply_add,    // f32 arithmetic, tiles of 64 x 64
  tensor_small,    // bf16 on tensor cores, tiles of 64 x 64
  tensor_large,    // and of 128 x 128
};
// A pure function of the description and the number of multiprocessors.
GemmKernel choose_gemm(const Gemm& g, int multiprocessors);

void gemm_few_rows(const Context& context, const char* name, const Gemm& g);
void gemm_multiply_add(const Context& context, const char* name, const Gemm& g);
void gemm_tensor(const Context& context, const char* name, const Gemm& g, bool large);

}  // namespace cuda
}  // namespace heddle
