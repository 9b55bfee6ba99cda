#include "ops/element_cast.h"

#include <cmath>
#include <cstring>

#include "ops/quant.h"
#include "core/error.h"

namespace heddle {
namespace {

template <class From, class To> int64_t cast(const uint8_t* from, uint8_t* to, int64_t count, float addend) {
  int64_t overflows = 0;
  for (int64_t i = 0; i < count; ++i) {
    From in;
    std::memcpy(&in, from + i * static_cast<int64_t>(sizeof(From)), sizeof(From));
    const float value = to_float(in);
    const To out = from_float<To>(addend == 0.0f ? value : value + addend);
    overflows += std::isinf(to_float(out)) && !std::isinf(value);
    std::memcpy(to + i * static_cast<int64_t>(sizeof(To)), &out, sizeof(To));
  }
  return overflows;
}

template <class From> int64_t cast_from(const uint8_t* from, uint8_t* to, DType to_type, int64_t count, float addend) {
  switch (to_type) {
    case DType::f32: return cast<From, float>(from, to, count, addend);
    case DType::f16: return cast<From, f16>(from, to, count, addend);
    case DType::bf16: return cast<From, bf16>(from, to, count, addend);
    default:
      throw Error("UNSUPPORTED", std::string("cast: expected f32, f16 or bf16 to write, got ") + dtype_name(to_type));
  }
}

// Converts through f32, several whole blocks of either type at a time.
int64_t cast_blocks(const uint8_t* from, DType from_type, uint8_t* to, DType to_type, int64_t count, float addend) {
  constexpr int64_t stretch = 8 * largest_block;
  alignas(4) uint8_t wide[stretch * sizeof(float)];
  float* numbers = reinterpret_cast<float*>(wide);
  int64_t overflows = 0;
  for (int64_t i = 0; i < count; i += stretch) {
    const int64_t n = count - i < stretch ? count - i : stretch;
    const uint8_t* source = from + bytes_of_elements(from_type, i);
    if (is_quantized(from_type)) {
      dequantize(from_type, source, n, numbers);
      if (addend != 0)
        for (int64_t k = 0; k < n; ++k) numbers[k] += addend;
    } else {
      cast_elements(source, from_type, wide, DType::f32, n, addend);
    }
    uint8_t* target = to + bytes_of_elements(to_type, i);
    if (is_quantized(to_type)) quantize(to_type, numbers, n, target);
    else overflows += cast_elements(wide, DType::f32, target, to_type, n, 0);
  }
  return overflows;
}

}  // namespace

int64_t cast_elements(const uint8_t* from, DType from_type, uint8_t* to, DType to_type, int64_t count, float addend) {
  if (is_quantized(from_type) || is_quantized(to_type)) return cast_blocks(from, from_type, to, to_type, count, addend);
  switch (from_type) {
    case DType::f32: return cast_from<float>(from, to, to_type, count, addend);
    case DType::f16: return cast_from<f16>(from, to, to_type, count, addend);
    case DType::bf16: return cast_from<bf16>(from, to, to_type, count, addend);
    default:
      throw Error("UNSUPPORTED", std::string("cast: expected f32, f16 or bf16 to read, got ") + dtype_name(from_type));
  }
}

}  // namespace heddle
