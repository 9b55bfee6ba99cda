// Floats of 16 and 8 bits (sections "Fundamental Types" and "Alternate Floating-Point Data Formats" of the PTX ISA
// manual).
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>

namespace simulator {

inline float float_of_bits(uint32_t bits) {
  float f;
  std::memcpy(&f, &bits, sizeof f);
  return f;
}
inline uint32_t bits_of_float(float f) {
  uint32_t bits;
  std::memcpy(&bits, &f, sizeof bits);
  return bits;
}

inline float float_of_bf16(uint16_t bits) { return float_of_bits(static_cast<uint32_t>(bits) << 16); }

// Rounds to nearest even. NaN becomes the canonical NaN, 0x7fff.
inline uint16_t bf16_of_float(float f) {
  const uint32_t bits = bits_of_float(f);
  if (f != f) return 0x7fff;
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

// A subnormal half is a multiple of 2^-24. The exponent's bias changes from 15 to 127.
inline float float_of_half(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000) << 16, exponent = half >> 10 & 31, mantissa = half & 1023;
  if (exponent == 31) return float_of_bits(sign | 0x7f800000 | mantissa << 13);
  if (exponent == 0) return float_of_bits(sign | bits_of_float(static_cast<float>(mantissa) * 5.9604644775390625e-08f));
  return float_of_bits(sign | (exponent + 112) << 23 | mantissa << 13);
}

// Rounds to nearest even. Magnitudes from 65520 on, which round beyond the largest half (65504), become infinite.
inline uint16_t half_of_float(float f) {
  const uint32_t bits = bits_of_float(f), sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return 0x7fff;
  if (magnitude >= 0x477ff000) return static_cast<uint16_t>(sign | 0x7c00);  // 65520 and more
  if (magnitude < 0x38800000) {                                              // below 2^-14: units of 2^-24
    const float units = std::nearbyint(std::fabs(f) * 16777216.0f);
    return static_cast<uint16_t>(sign | static_cast<uint32_t>(units));
  }
  const uint32_t rounded = magnitude + 0xfff + (magnitude >> 13 & 1);
  return static_cast<uint16_t>(sign | ((rounded >> 13) - (112 << 10)));
}

// e4m3 has an exponent bias of 7, no infinities, and NaN at 0x7f and 0xff.
inline float float_of_e4m3(uint8_t bits) {
  const int exponent = bits >> 3 & 15, mantissa = bits & 7;
  if (exponent == 15 && mantissa == 7) return std::nanf("");
  const float value = exponent ? std::ldexp(1.0f + static_cast<float>(mantissa) / 8, exponent - 7)
                               : std::ldexp(static_cast<float>(mantissa), -9);
  return bits & 128 ? -value : value;
}

}  // namespace simulator
