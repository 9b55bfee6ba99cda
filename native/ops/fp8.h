// 8-bit floats with 4 exponent and 3 mantissa bits, e4m3 ("FP8 Formats for Deep Learning", Micikevicius et al. 2022):
// no infinities, one NaN per sign, magnitudes up to 448. Blocks share an f32 scale: 128 x 128 for weights, 1 x 128 for
// activations ("DeepSeek-V3 Technical Report" 2024, 3.3.2). Tensors are u8, with a separate tensor of scales.
#pragma once
#include <cstdint>
#include <cstring>

#include "core/round.h"

namespace heddle {

constexpr int fp8_block = 128;  // elements of a row, and rows of a weight, that share a scale
constexpr float fp8_largest = 448;
constexpr float fp8_least = 1e-30f;  // a block without a greater magnitude becomes zero

constexpr int64_t fp8_blocks(int64_t n) { return ceil_div(n, fp8_block); }

inline float e4m3_to_float(uint8_t byte) {
  // Rebiases the exponent from 7 to 127. A magnitude below 8 is subnormal.
  const uint32_t magnitude = byte & 0x7f, sign = static_cast<uint32_t>(byte & 0x80) << 24;
  float f = static_cast<float>(magnitude) * 0.001953125f;  // multiples of 2^-9 below 2^-6
  uint32_t bits = (magnitude << 20) + (120u << 23);
  if (magnitude == 0x7f) bits = 0x7fc00000;
  else if (magnitude < 8) std::memcpy(&bits, &f, 4);
  bits |= sign;
  std::memcpy(&f, &bits, 4);
  return f;
}

// Rounds to nearest even. Magnitudes above 448 become 448. NaN stays NaN.
inline uint8_t float_to_e4m3(float f) {
  uint32_t bits;
  std::memcpy(&bits, &f, 4);
  const uint32_t sign = bits >> 24 & 0x80;
  bits &= 0x7fffffff;
  if (bits > 0x7f800000) return static_cast<uint8_t>(sign | 0x7f);
  if (bits >= 0x43e00000) return static_cast<uint8_t>(sign | 0x7e);  // 448 or more
  if (bits < 0x3c800000) {  // below 2^-6: adding 2^14 rounds f to a multiple of 2^-9
    float shifted;
    std::memcpy(&shifted, &bits, 4);
    shifted += 16384.0f;
    std::memcpy(&bits, &shifted, 4);
    return static_cast<uint8_t>(sign | (bits - 0x46800000));
  }
  bits += 0x7ffff + (bits >> 20 & 1);                                // rounds to 3 mantissa bits
  return static_cast<uint8_t>(sign | ((bits >> 20) - (120u << 3)));  // changes the exponent's bias from 127 to 7
}

// Quantizes a matrix (rows, columns) in blocks of 128 x 128 to bytes (rows, columns) and scales (fp8_blocks(rows),
// fp8_blocks(columns)). A scale maps a block's largest magnitude to 448. Throws NUMERICAL for a value that is not
// finite. The message gives its row, counted from `first_row`.
void fp8_quantize(const float* from, int64_t rows, int64_t columns, uint8_t* to, float* scales, int64_t first_row = 0);

// A scale for products in training, and its inverse. Both are powers of two, so that scale * e4m3 is exact in bf16.
struct Fp8Scale {
  float scale, inverse;
};
// Returns the scale of a group or block of finite numbers: the least power of two that maps the largest magnitude to
// 448 or less. Both are zero if the magnitude is at most fp8_least.
inline Fp8Scale fp8_power_of_two(float largest) {
  uint32_t bits;
  std::memcpy(&bits, &largest, 4);
  // 448 is 1.75 * 2^8. Mantissas above 1.75 carry into the exponent.
  const uint32_t exponent = ((bits + 0x1fffff) >> 23) - 8, of_scale = exponent << 23,
                 of_inverse = (254 - exponent) << 23;
  Fp8Scale made{0, 0};
  if (!(largest > fp8_least)) return made;
  std::memcpy(&made.scale, &of_scale, 4);
  std::memcpy(&made.inverse, &of_inverse, 4);
  return made;
}

// Rounds n floats in place, in groups of 128 (the last may be short), to scale * e4m3(x / scale). The arithmetic is
// that of the kernels, all in float: inverse = 448 / largest, byte = e4m3(x * inverse), scale = largest / 448. A group
// with a value that is not finite becomes NaN.
void round_to_fp8(float* x, int64_t n);

}  // namespace heddle
