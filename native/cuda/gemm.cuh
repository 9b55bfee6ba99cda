// Matrix products: what linear layers, experts and the log-probability of a token are made of.
#pragma once
#include "cuda/choice.h"
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
  // For the sums of parts of the depth: at most gemm_workspace(m, n, k) are of use, none means no parts.
  void* workspace = nullptr;
  size_t workspace_bytes = 0;
};

// Queues the product on the kernel that choose_gemm names.
void gemm(const Context& context, const char* name, const Gemm& g);

void gemm_few_rows(const Context& context, const char* name, const Gemm& g);
void gemm_multiply_add(const Context& context, const char* name, const Gemm& g, const GemmChoice& choice);
void gemm_tensor(const Context& context, const char* name, const Gemm& g, const GemmChoice& choice);
void gemm_tf32(const Context& context, const char* name, const Gemm& g, const GemmChoice& choice);
void gemm_warpgroup(const Context& context, const char* name, const Gemm& g, const GemmChoice& choice);

// The product that block blockIdx.z of a launch with parts makes: sums of its part of the depth, to its place in the workspace.
__device__ inline Gemm part_of(Gemm g, int64_t part) {
  if (gridDim.z == 1) return g;
  const int64_t begin = blockIdx.z * part;
  g.c = {static_cast<float*>(g.workspace) + blockIdx.z * g.m * g.n, DType::f32};
  g.ldc = g.n;
  g.bias.data = nullptr;
  g.accumulate = false;
  if (g.k > begin + part) g.k = begin + part;
  return g;
}
// Queues what adds up the parts in their order, and then what the product's end does.
void add_parts(const Context& context, const char* name, const Gemm& g, int parts);

}  // namespace cuda
}  // namespace heddle
