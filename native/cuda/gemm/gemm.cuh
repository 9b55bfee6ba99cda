// Matrix products: what linear layers, experts and the log-probability of a token are made of.
#pragma once
#include "cuda/runtime/choice.h"
#include "cuda/rows/math.cuh"

namespace heddle {
namespace cuda {

// Operations on f32 sums in registers before they are stored. All (m, n) operands have c's layout.
struct Ending {
  int activation = -1;              // as activated() numbers them; -1: none
  View onto{nullptr, DType::f32};   // (m, n), added last: c's own memory, even
  Out before{nullptr, DType::f32};  // (m, n): keeps what the activation is of
  // A gated product: c = activation(a b + bias) (a up + up_bias), of a second right operand that lies as b does.
  View up{nullptr, DType::f32}, up_bias{nullptr, DType::f32};
  Out up_kept{nullptr, DType::f32};  // (m, n): keeps the second factor
};

// c (m, n) = a (m, k) b (k, n) + bias (n), or added to what c holds; then the ending. Sums are in f32.
struct Gemm {
  View a, b, bias;  // bias.data may be null
  Out c;            // data null: a gated product's factors are kept, and that is all
  int64_t m, n, k;
  int64_t lda, ldb, ldc;            // elements between rows as stored
  bool a_transposed, b_transposed;  // stored (k, m), (n, k)
  bool accumulate;
  bool rowwise = false;  // a row of c must not depend on how many rows there are
  // For the sums of parts of the depth: at most gemm_workspace(m, n, k), n twice for a gated product, are of use; none
  // means no parts.
  void* workspace = nullptr;
  size_t workspace_bytes = 0;
  Ending ending = {};

  __host__ __device__ bool gated() const { return ending.up.data != nullptr; }
};

// Queues the product on the kernel that choose_gemm names.
void gemm(const Context& context, const char* name, const Gemm& g);

void gemm_few_rows(const Context& context, const char* name, const Gemm& g);
void gemm_multiply_add(const Context& context, const char* name, const Gemm& g, const GemmChoice& choice);
void gemm_tensor(const Context& context, const char* name, const Gemm& g, const GemmChoice& choice);
void gemm_tf32(const Context& context, const char* name, const Gemm& g, const GemmChoice& choice);
void gemm_warpgroup(const Context& context, const char* name, const Gemm& g, const GemmChoice& choice);

// Calls run(strip) for strips of the product's rows, because a grid's second dimension is limited. A product with
// several strips has too many tiles to be split along its depth.
template <class F> void in_strips(const Gemm& g, int tile_m, F run) {
  const int64_t most = int64_t{65535} * tile_m;
  const auto skip = [](auto& x, int64_t elements) {
    if (x.data)
      x.data =
          const_cast<char*>(static_cast<const char*>(x.data)) + elements * static_cast<int64_t>(dtype_bytes(x.type));
  };
  for (int64_t row = 0; row < g.m; row += most) {
    Gemm strip = g;
    strip.m = g.m - row < most ? g.m - row : most;
    skip(strip.a, row * (g.a_transposed ? 1 : g.lda));
    skip(strip.c, row * g.ldc), skip(strip.ending.onto, row * g.ldc);
    skip(strip.ending.before, row * g.ldc), skip(strip.ending.up_kept, row * g.ldc);
    run(strip);
  }
}

// The product of block blockIdx.z in a launch with parts: sums over its part of the depth, written to its place in the
// workspace. A gated product stores the second factor's sums after the first's.
__device__ inline Gemm part_of(Gemm g, int64_t part) {
  if (gridDim.z == 1) return g;
  const int64_t begin = blockIdx.z * part, elements = g.m * g.n;
  const View up = g.ending.up;
  float* sums = static_cast<float*>(g.workspace) + blockIdx.z * elements * (up.data ? 2 : 1);
  g.ending = {};
  if (up.data) {
    g.ending.up = up;
    g.ending.before = {sums, DType::f32}, g.ending.up_kept = {sums + elements, DType::f32};
    g.c.data = nullptr;
  } else {
    g.c = {sums, DType::f32};
  }
  g.ldc = g.n;
  g.bias.data = nullptr;
  if (g.k > begin + part) g.k = begin + part;
  return g;
}
// Queues what adds up the parts in their order, and then what the product's end does.
void add_parts(const Context& context, const char* name, const Gemm& g, int parts);

}  // namespace cuda
}  // namespace heddle
