// Matrix products of quantized weights and activations that are rounded to 8 bits in groups of 32 (ops/quant.h).
#pragma once
#include "cuda/rows/math.cuh"

namespace heddle {
namespace cuda {

// Bytes of the context's scratch that gemm_int8 needs for m rows of k activations.
size_t int8_scratch(int64_t m, int64_t k);

// c (m, n) = x (m, k), rounded to 8 bits, times w (n, k)^T + bias (n)
struct Int8Gemm {
  View x, w, bias;  // w is quantized; bias.data may be null
  Out c;
  int64_t m, n, k;
};
// rowwise: a row of c must not depend on the number of rows.
void gemm_int8(const Context& context, const char* name, const Int8Gemm& g, bool rowwise);

}  // namespace cuda
}  // namespace heddle
