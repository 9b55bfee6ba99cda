// Other forms of a product, for kernels that compute only some shapes.
#pragma once
#include "cpu/isa/kernels.h"
#include "cpu/simd/simd.h"

namespace heddle {
namespace HEDDLE_ISA {

using cpu::Gemm;

// Returns the transposed product c^T = b^T a^T.
inline Gemm transposed_product(const Gemm& g) {
  Gemm t = g;
  t.m = g.n, t.n = g.m, t.c_transposed = !g.c_transposed;
  t.a = g.b, t.a_type = g.b_type, t.lda = g.ldb, t.a_transposed = !g.b_transposed;
  t.b = g.a, t.b_type = g.a_type, t.ldb = g.lda, t.b_transposed = !g.a_transposed;
  return t;
}

// Calls product() with slices of at most `most` rows of g.
template <class Product> void in_slices(const Gemm& g, int64_t most, const Product& product) {
  for (int64_t i = 0; i < g.m; i += most) {
    Gemm slice = g;
    slice.m = min_of(most, g.m - i);
    slice.a = static_cast<const char*>(g.a) + i * g.lda * static_cast<int64_t>(dtype_bytes(g.a_type));
    slice.c = static_cast<char*>(g.c) + i * g.ldc * static_cast<int64_t>(dtype_bytes(g.c_type));
    product(slice);
  }
}

}  // namespace HEDDLE_ISA
}  // namespace heddle
