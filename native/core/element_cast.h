// Conversion of stored weights between element types, for files that are rewritten.
#pragma once
#include <cstdint>

#include "core/tensor.h"

namespace heddle {

// to[i] = from[i] + addend in the target type (round to nearest even), computed in f32. Both pointers may be unaligned.
// Returns how many finite inputs became infinite: f16 ends at 65504, a bfloat16 model may hold more.
// A quantised type on either side: whole blocks of `count` elements, by way of f32 (see ops/quant.h).
// Other types, and quantised ones that are only read as the target: throws Error UNSUPPORTED.
int64_t cast_elements(const uint8_t* from, DType from_type, uint8_t* to, DType to_type, int64_t count, float addend);

}  // namespace heddle
