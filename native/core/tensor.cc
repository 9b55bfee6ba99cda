// Element types and shapes as text, and conversions between f32 and f16. The conversion to f16 rounds to nearest even.
#include "core/tensor.h"

#include "core/error.h"

namespace heddle {

const char* dtype_name(DType t) {
  switch (t) {
    case DType::f32: return "f32";
    case DType::bf16: return "bf16";
    case DType::f16: return "f16";
    case DType::i32: return "i32";
    case DType::u8: return "u8";
    default: return t < DType::count ? block_type(t).name : "unknown";
  }
}

std::string to_string(const Shape& s) {
  std::string text = "(";
  for (int i = 0; i < s.rank; ++i) {
    if (i) text += ", ";
    text += std::to_string(s.dims[i]);
  }
  return text + ")";
}

float to_float(f16 v) {
  const uint32_t sign = static_cast<uint32_t>(v.bits & 0x8000) << 16;
  const uint32_t exponent = (v.bits >> 10) & 0x1f;
  const uint32_t fraction = v.bits & 0x3ff;
  if (exponent == 0) {  // zero or subnormal: fraction * 2^-24 is exact in float
    const float magnitude = static_cast<float>(fraction) * 5.9604644775390625e-8f;
    return sign ? -magnitude : magnitude;
  }
  const uint32_t u = sign | (exponent == 31 ? 0x7f800000u : (exponent + 112) << 23) | fraction << 13;
  float f;
  std::memcpy(&f, &u, 4);
  return f;
}

f16 to_f16(float f) {
  uint32_t u;
  std::memcpy(&u, &f, 4);
  const uint32_t sign = (u >> 16) & 0x8000;
  const uint32_t magnitude = u & 0x7fffffffu;
  uint32_t bits;
  if (magnitude > 0x7f800000u) {
    bits = 0x7e00 | ((magnitude >> 13) & 0x3ff);  // NaN becomes a quiet NaN
  } else if (magnitude >= 0x47800000u) {
    bits = 0x7c00;                        // 65536 and above; 65520 to 65535 become infinite through the carry below
  } else if (magnitude >= 0x38800000u) {  // normal: rebiases the exponent from 127 to 15
    bits = (magnitude - 0x38000000u + 0xfff + ((magnitude >> 13) & 1)) >> 13;
  } else if (magnitude < 0x33000000u) {
    bits = 0;  // below half of the smallest subnormal
  } else {
    // Subnormal: the significand in units of 2^-24, rounded to nearest even here.
    const uint32_t significand = (magnitude & 0x7fffff) | 0x800000;
    const uint32_t shift = 126 - (magnitude >> 23);  // 14..24
    const uint32_t rest = significand & ((1u << shift) - 1), half = 1u << (shift - 1);
    bits = significand >> shift;
    if (rest > half || (rest == half && (bits & 1))) ++bits;
  }
  return {static_cast<uint16_t>(sign | bits)};
}

float load_float(const Tensor& t, int64_t i) {
  switch (t.dtype) {
    case DType::f32: return t.as<float>()[i];
    case DType::bf16: return to_float(t.as<bf16>()[i]);
    case DType::f16: return to_float(t.as<f16>()[i]);
    case DType::i32: return static_cast<float>(t.as<int32_t>()[i]);
    case DType::u8: return t.as<uint8_t>()[i];
    default: throw internal_error(std::string("load_float: expected an unquantized type, got ") + dtype_name(t.dtype));
  }
}

void store_float(const Tensor& t, int64_t i, float v) {
  switch (t.dtype) {
    case DType::f32: t.as<float>()[i] = v; return;
    case DType::bf16: t.as<bf16>()[i] = to_bf16(v); return;
    case DType::f16: t.as<f16>()[i] = to_f16(v); return;
    default:
      throw internal_error(std::string("store_float: expected a floating point tensor, got ") + dtype_name(t.dtype));
  }
}

}  // namespace heddle
