// Converts stored weights between element types, for files that are rewritten.
#pragma once
#include <cstdint>

#include "core/tensor.h"

namespace heddle {

// to[i] = from[i] + addend in the target type (round to nearest even), computed in f32. Both pointers may be unaligned.
// Returns how many finite inputs became infinite: f16 ends at 65504, but a bfloat16 model may hold larger numbers.
// Quantized types are converted through f32 (ops/quant.h), and `count` must be a multiple of their block size. Throws
// UNSUPPORTED for other types, and for read-only quantized types as the target.
int64_t cast_elements(const uint8_t* from, DType from_type, uint8_t* to, DType to_type, int64_t count, float addend);

}  // namespace heddle
