// Matrices of 8-bit floats (e4m3) with a scale per block (ops/fp8.h), and their matrix products.
#pragma once
#include "cuda/gemm/gemm.cuh"
#include "ops/fp8.h"

namespace heddle {
namespace cuda {

// Returns the number of blocks of n elements, like fp8_blocks on the host.
__device__ inline int64_t blocks_of(int64_t n) { return ceil_div(n, fp8_block); }

// Converts e4m3 to float. The exponent and mantissa are moved to those of an f16, whose exponent bias is 15 instead
// of 7. The f16 is therefore too small by a factor of 2^8. This holds for subnormals too.
__device__ inline float fp8_to_float(uint8_t byte) {
  const uint16_t half = static_cast<uint16_t>((byte & 0x80) << 8 | (byte & 0x7f) << 7);
  return (byte & 0x7f) == 0x7f ? NAN : ptx::half_to_float(half) * 256.0f;
}
// Converts float to e4m3, with the arithmetic of float_to_e4m3 (native/ops/fp8.h), which explains the constants.
__device__ inline uint8_t float_to_fp8(float f) {
  uint32_t bits = __float_as_uint(f);
  const uint32_t sign = bits >> 24 & 0x80;
  bits &= 0x7fffffff;
  if (bits > 0x7f800000) return static_cast<uint8_t>(sign | 0x7f);
  if (bits >= 0x43e00000) return static_cast<uint8_t>(sign | 0x7e);  // 448 and more become 448
  if (bits < 0x3c800000)  // below 2^-6: adding 2^14 rounds to a multiple of 2^-9
    return static_cast<uint8_t>(sign | (__float_as_uint(__uint_as_float(bits) + 16384.0f) - 0x46800000));
  bits += 0x7ffff + (bits >> 20 & 1);  // rounds to nearest even at bit 20
  return static_cast<uint8_t>(sign | ((bits >> 20) - (120u << 3)));
}

// A matrix of e4m3 bytes with leading dimension ld. The scale of element (i, j) is scale[(i >> shift) * row_step +
// j / 128 * column_step].
struct Fp8Matrix {
  const uint8_t* q;
  const float* scale;
  int64_t ld;
  int shift;  // 2^shift rows share a scale: 128 rows of a weight, 1 of activations
  int64_t row_step, column_step;

  __device__ float scale_at(int64_t row, int64_t column) const {
    return scale[(row >> shift) * row_step + column / fp8_block * column_step];
  }
  __device__ float at(int64_t row, int64_t column) const {
    return scale_at(row, column) * fp8_to_float(q[row * ld + column]);
  }
};

// Activations (rows, ld): a row's scale of each 128 columns is in scale (blocks of columns, rows).
inline Fp8Matrix activations_of(const void* q, const float* scale, int64_t rows, int64_t ld) {
  return {static_cast<const uint8_t*>(q), scale, ld, 0, 1, rows};
}
// A weight (rows, ld) whose blocks have the scales (blocks of rows, blocks of columns).
inline Fp8Matrix weight_of(const void* q, const float* scale, int64_t ld) {
  constexpr int block_shift = 7;
  static_assert(1 << block_shift == fp8_block, "2^block_shift rows share a scale");
  return {static_cast<const uint8_t*>(q), scale, ld, block_shift, fp8_blocks(ld), 1};
}

// c (m, n) = x (m, k) w (n, k)^T + bias (n). x has float elements. If rounded.q is not null, `rounded` holds x rounded
// to e4m3 and is used instead of x.
struct Fp8Gemm {
  View x;
  Fp8Matrix rounded;
  Fp8Matrix w;
  View bias;  // data may be null
  Out c;
  int64_t m, n, k;

  // Returns a Gemm for epilogue_run, with only the fields that it reads.
  __device__ Gemm epilogue() const { return {x, x, bias, c, m, n, k, k, k, n, false, true, false}; }
};

// Calls run(row, rows) for each strip of `rows` rows from `row` on. A grid's second dimension is limited to 65535, and
// tiles have at least 64 rows.
template <class F> void in_strips(int64_t rows, F run) {
  constexpr int64_t strip = int64_t{65535} * 64;
  for (int64_t row = 0; row < rows; row += strip) run(row, rows - row < strip ? rows - row : strip);
}
// Returns the product of `rows` rows of x, from `row` on.
inline Fp8Gemm strip_of(Fp8Gemm g, int64_t row, int64_t rows) {
  g.m = rows;
  skip(g.x, row * g.k), skip(g.c, row * g.n);
  if (g.rounded.q) g.rounded.q += row * g.rounded.ld, g.rounded.scale += row;
  return g;
}

// Launches the product by wgmma, on sm_90a. Requires `rounded`, and rows of both matrices that are 16-byte aligned and
// a multiple of 16 bytes apart.
void gemm_fp8_warpgroup(const Context& context, const char* name, const Fp8Gemm& g);
// Launches the product by mma.sync, on sm_89 and sm_120. Has the requirements of gemm_fp8_warpgroup, and takes at most
// 65535 * 64 rows.
void gemm_fp8_tensor(const Context& context, const char* name, const Fp8Gemm& g);

}  // namespace cuda
}  // namespace heddle
