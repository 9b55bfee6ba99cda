// Products of quantized weights with activations that are rounded to 8 bits in groups of 32 (ops/quant.h).
#pragma once
#include "cuda/rows/math.cuh"

namespace heddle {
namespace cuda {

// N rows of K elements in groups of 32. An element is its q times the scale of its group. `sum` holds the sum of each
// 16 elements.
struct Int8Rows {
  int8_t* q;     // (N, K)
  float* scale;  // (N, K / 32)
  float* sum;    // (N, K / 16)
};
size_t int8_scratch(int64_t N, int64_t K);  // size of Int8Rows in bytes
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
