// Writes floats as quantized blocks. Scales are found by least squares: several roundings of a group are tried, each
// with the scale (and minimum) that fits its integers best. The rounding with the smallest squared error is kept.
// Scales are rounded to their stored precision before the integers are chosen. The bytes are the same on every machine:
// each product and sum is rounded separately (-ffp-contract=off in CMakeLists.txt), and larger() and smaller() return
// their first argument if both are zeros. The CPU kernels write the same bytes.
#include "ops/quant_write.h"

#include <cmath>
#include <cstring>

#include "ops/quant.h"
#include "core/error.h"

namespace heddle {
namespace {

// Rounds to the nearest integer, ties to even, for |v| < 2^22: floats near 1.5 * 2^23 are integers.
float round_even(float v) { return (v + 12582912.0f) - 12582912.0f; }
float larger(float a, float b) { return b > a ? b : a; }
float smaller(float a, float b) { return b < a ? b : a; }
float within(float v, float low, float high) { return v < low ? low : v > high ? high : v; }

float inverse_of(float v) {
  const float i = 1.0f / v;
  return std::isfinite(i) ? i : 0.0f;  // if the scale is zero or too small to invert, the integers become zero
}

void store_half(float v, uint8_t* to) {
  const f16 h = to_f16(v);
  std::memcpy(to, &h, 2);
}
float as_half(float v) { return to_float(to_f16(v)); }
// Rounds d or dmin, the unit of a block's integer scales or minima, to half precision. A unit that would round to zero
// becomes the smallest positive f16, because with a zero unit all scales or minima would be zero.
float as_half_unit(float v) {
  const float h = as_half(v);
  return h == 0 && v > 0 ? 5.9604645e-8f : h;
}

// Finds the scale s with the smallest squared error of s * q, where q are integers in [low, high]. Tries scales near
// the one that maps the number of the largest magnitude to `low`. The scale may be negative.
float fit_scale(const float* x, int n, float low, float high) {
  float extreme = 0;
  for (int i = 0; i < n; ++i)
    if (std::fabs(x[i]) > std::fabs(extreme)) extreme = x[i];
  if (extreme == 0) return 0;
  float best = extreme / low, least = INFINITY;
  for (int step = -scale_steps; step <= scale_steps; ++step) {
    const float inverse = (low + 0.1f * static_cast<float>(step)) / extreme;
    float xq = 0, qq = 0;
    for (int i = 0; i < n; ++i) {
      const float q = within(round_even(x[i] * inverse), low, high);
      xq += x[i] * q, qq += q * q;
    }
    if (qq == 0) continue;
    const float error = -xq * xq / qq;  // the squared error less the sum of x^2, which is constant
    if (error < least) least = error, best = xq / qq;
  }
  return best;
}

struct Affine {
  float scale, minimum;  // x ~ scale * q + minimum, scale >= 0, minimum <= 0
};

// Finds the scale and the minimum with the smallest squared error, for integers in [0, high]. For each rounding, solves
// the normal equations of linear regression.
Affine fit_affine(const float* x, int n, float high) {
  float low_x = 0, high_x = x[0], sum = 0;
  for (int i = 0; i < n; ++i) low_x = smaller(low_x, x[i]), high_x = larger(high_x, x[i]), sum += x[i];
  if (!(high_x > low_x)) return {0, low_x};
  Affine best{(high_x - low_x) / high, low_x};
  float least = INFINITY;
  for (int step = -affine_steps; step <= affine_steps; ++step) {
    const float inverse = (high + 0.1f * static_cast<float>(step)) / (high_x - low_x);
    float q1 = 0, qq = 0, xq = 0;
    for (int i = 0; i < n; ++i) {
      const float q = within(round_even((x[i] - low_x) * inverse), 0, high);
      q1 += q, qq += q * q, xq += x[i] * q;
    }
    const float determinant = static_cast<float>(n) * qq - q1 * q1;
    if (!(determinant > 0)) continue;
    Affine fit{(static_cast<float>(n) * xq - q1 * sum) / determinant, (qq * sum - q1 * xq) / determinant};
    if (fit.minimum > 0) fit = {xq / qq, 0};  // blocks store only minima of at most 0
    if (!(fit.scale >= 0)) continue;
    float error = 0;
    for (int i = 0; i < n; ++i) {
      const float d = fit.scale * within(round_even((x[i] - low_x) * inverse), 0, high) + fit.minimum - x[i];
      error += d * d;
    }
    if (error < least) least = error, best = fit;
  }
  return best;
}

void write_q8_0(const float* x, uint8_t* b) {
  float largest = 0;
  for (int i = 0; i < 32; ++i) largest = larger(largest, std::fabs(x[i]));
  const float d = as_half(largest / 127), inverse = inverse_of(d);
  store_half(d, b);
  for (int i = 0; i < 32; ++i)
    b[2 + i] = static_cast<uint8_t>(static_cast<int8_t>(within(round_even(x[i] * inverse), -127, 127)));
}

void write_q4_0(const float* x, uint8_t* b) {
  const float d = as_half(fit_scale(x, 32, -8, 7)), inverse = inverse_of(d);
  store_half(d, b);
  const auto code = [&](int i) { return static_cast<int>(within(round_even(x[i] * inverse), -8, 7)) + 8; };
  for (int i = 0; i < 16; ++i) b[2 + i] = static_cast<uint8_t>(code(i) | code(16 + i) << 4);
}

void write_q5_0(const float* x, uint8_t* b) {
  const float d = as_half(fit_scale(x, 32, -16, 15)), inverse = inverse_of(d);
  store_half(d, b);
  const auto code = [&](int i) { return static_cast<int>(within(round_even(x[i] * inverse), -16, 15)) + 16; };
  uint32_t fifth = 0;
  for (int i = 0; i < 16; ++i) {
    const int low = code(i), high = code(16 + i);
    fifth |= static_cast<uint32_t>(low >> 4) << i | static_cast<uint32_t>(high >> 4) << (16 + i);
    b[6 + i] = static_cast<uint8_t>((low & 15) | (high & 15) << 4);
  }
  std::memcpy(b + 2, &fifth, 4);
}

void write_q4_k(const float* x, uint8_t* b) {
  float scale[8], minimum[8], d[8], dmin[8];
  uint8_t q[256];
  for (int g = 0; g < 8; ++g) {
    const Affine fit = fit_affine(x + 32 * g, 32, 15);
    scale[g] = fit.scale, minimum[g] = fit.minimum;
  }
  q4_k_units(scale, minimum, b, d, dmin);
  for (int g = 0; g < 8; ++g) {
    scale[g] = within(round_even(scale[g] * inverse_of(d[g])), 0, 63);
    minimum[g] = within(round_even(-minimum[g] * inverse_of(dmin[g])), 0, 63);
    const float inverse = inverse_of(d[g] * scale[g]), low = dmin[g] * minimum[g];
    for (int i = 32 * g; i < 32 * g + 32; ++i)
      q[i] = static_cast<uint8_t>(within(round_even((x[i] + low) * inverse), 0, 15));
  }
  q4_k_scales(scale, minimum, b + 4);
  for (int c = 0; c < 4; ++c)
    for (int i = 0; i < 32; ++i) b[16 + 32 * c + i] = static_cast<uint8_t>(q[64 * c + i] | q[64 * c + 32 + i] << 4);
}

void write_q6_k(const float* x, uint8_t* b) {
  float fits[16];
  for (int g = 0; g < 16; ++g) fits[g] = fit_scale(x + 16 * g, 16, -32, 31);
  const float d = q6_k_unit(fits, b + 208);
  uint8_t q[256];
  for (int g = 0; g < 16; ++g) {
    const float scale = within(round_even(fits[g] * inverse_of(d)), -127, 127), inverse = inverse_of(d * scale);
    b[192 + g] = static_cast<uint8_t>(static_cast<int8_t>(scale));
    for (int i = 16 * g; i < 16 * g + 16; ++i)
      q[i] = static_cast<uint8_t>(within(round_even(x[i] * inverse), -32, 31) + 32);
  }
  for (int half = 0; half < 2; ++half)
    for (int i = 0; i < 32; ++i) {
      const uint8_t* from = q + 128 * half + i;  // elements i, 32 + i, 64 + i, 96 + i
      b[64 * half + i] = static_cast<uint8_t>((from[0] & 15) | (from[64] & 15) << 4);
      b[64 * half + 32 + i] = static_cast<uint8_t>((from[32] & 15) | (from[96] & 15) << 4);
      b[128 + 32 * half + i] =
          static_cast<uint8_t>(from[0] >> 4 | from[32] >> 4 << 2 | from[64] >> 4 << 4 | from[96] >> 4 << 6);
    }
}

using Write = void (*)(const float*, uint8_t*);
Write writer(DType type) {
  switch (type) {
    case DType::q8_0: return write_q8_0;
    case DType::q4_0: return write_q4_0;
    case DType::q5_0: return write_q5_0;
    case DType::q4_k: return write_q4_k;
    case DType::q6_k: return write_q6_k;
    default: return nullptr;
  }
}

}  // namespace

void q4_k_units(const float* scale, const float* minimum, uint8_t* to, float* d, float* dmin) {
  float max_scale = 0, max_minimum = 0;
  for (int g = 0; g < 8; ++g) max_scale = larger(max_scale, scale[g]), max_minimum = larger(max_minimum, -minimum[g]);
  const float unit = as_half_unit(max_scale / 63), unit_minimum = as_half_unit(max_minimum / 63);
  store_half(unit, to), store_half(unit_minimum, to + 2);
  for (int g = 0; g < 8; ++g) d[g] = unit, dmin[g] = unit_minimum;
}

void q4_k_scales(const float* scale, const float* minimum, uint8_t* to) {
  int s[8], m[8];
  for (int g = 0; g < 8; ++g) s[g] = static_cast<int>(scale[g]), m[g] = static_cast<int>(minimum[g]);
  for (int g = 0; g < 4; ++g) {
    to[g] = static_cast<uint8_t>(s[g] | s[4 + g] >> 4 << 6);
    to[4 + g] = static_cast<uint8_t>(m[g] | m[4 + g] >> 4 << 6);
    to[8 + g] = static_cast<uint8_t>((s[4 + g] & 15) | (m[4 + g] & 15) << 4);
  }
}

float q6_k_unit(const float* scale, uint8_t* to) {
  float most = 0;
  for (int g = 0; g < 16; ++g) most = larger(most, std::fabs(scale[g]));
  const float d = as_half_unit(most / 127);
  store_half(d, to);
  return d;
}

bool quantizes_to(DType type) { return writer(type) != nullptr; }

void quantize(DType type, const float* from, int64_t n, void* to) {
  const Write write = writer(type);
  if (!write)
    throw Error("UNSUPPORTED", std::string("quantize: expected a type that can be written, got ") + dtype_name(type));
  const BlockType& t = block_type(type);
  if (n % t.elements) throw internal_error("quantize: expected whole blocks, got " + std::to_string(n) + " elements");
  for (int64_t i = 0; i < n; ++i)
    if (!(std::fabs(from[i]) <= largest_quantized))
      throw Error("NUMERICAL", std::string("quantize: expected magnitudes of at most ") +
                                   std::to_string(static_cast<int>(largest_quantized)) + " for " + dtype_name(type) +
                                   ", got " + std::to_string(from[i]));
  uint8_t* block = static_cast<uint8_t*>(to);
  for (int64_t i = 0; i < n; i += t.elements, block += t.bytes) write(from + i, block);
}

}  // namespace heddle
