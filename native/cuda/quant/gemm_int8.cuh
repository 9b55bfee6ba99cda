// Matrix products of quantized weights and activations that are rounded to 8 bits in groups of 32 (ops/quant.h).
#pragma once
#include "cuda/rows/math.cuh"

namespace heddle {
namespace cuda {

// N rows of K activations, rounded in groups of 32: element = q * the group's scale. `sum` has the sums of every 16
// elements, to be multiplied by the minimum of a Run.
struct Int8Rows {
  int8_t* q;     // (N, K), aligned to 16 bytes
  float* scale;  // (N, K / 32)
  float* sum;    // (N, K / 16)
};
size_t int8_scratch(int64_t N, int64_t K);  // bytes of the arrays of Int8Rows
// Launches the rounding of x (N, K) into the context's scratch.
Int8Rows round_to_int8(const Context& context, const char* name, const View& x, int64_t N, int64_t K);

// c (m, n) = x (m, k) w (n, k)^T + bias (n)
struct Int8Gemm {
  Int8Rows x;
  View w, bias;  // w is quantized; bias.data may be null
  Out c;
  int64_t m, n, k;
};
// rowwise: a row of c must not depend on the number of rows.
void gemm_int8(const Context& context, const char* name, const Int8Gemm& g, bool rowwise);

}  // namespace cuda
}  // namespace heddle
