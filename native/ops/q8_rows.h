// Rows of a q8 cache. A row has D signed bytes, then an unaligned f32 scale. An element is scale * byte. A q8 cache is
// a u8 tensor whose last dimension is D + 4.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>

#include "core/tensor.h"

namespace heddle {

constexpr int64_t q8_scale_bytes = 4;

// Returns the number of elements of a cache row. The last dimension of a q8 cache counts bytes.
inline int64_t cache_width(const Tensor& cache) {
  return cache.shape[3] - (cache.dtype == DType::u8 ? q8_scale_bytes : 0);
}

inline float q8_scale(const uint8_t* row, int64_t D) {
  float scale;
  std::memcpy(&scale, row + D, sizeof scale);
  return scale;
}

// Quantizes x (D): the largest magnitude maps to 127. A row with magnitudes below 1e-30 is stored as zeros. A row with
// a value that is not finite gets a NaN scale, so that the value stays visible.
inline void q8_store_row(const float* x, int64_t D, uint8_t* row) {
  float largest = 0, poison = 0;  // poison: NaN if a value is not finite, otherwise 0
  for (int64_t d = 0; d < D; ++d) {
    const float magnitude = std::fabs(x[d]);
    largest = magnitude > largest ? magnitude : largest;
    poison += x[d] * 0.0f;
  }
  const bool some = largest >= 1e-30f && poison == 0;
  const float inverse = some ? 127.0f / largest : 0.0f, scale = (some ? largest / 127.0f : 0.0f) + poison;
  constexpr float shift = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer, ties to even
  int8_t* bytes = reinterpret_cast<int8_t*>(row);
  for (int64_t d = 0; d < D; ++d) {
    const float scaled = some ? x[d] * inverse : 0.0f, rounded = scaled + shift;
    bytes[d] = static_cast<int8_t>(static_cast<int32_t>(rounded - shift));
  }
  std::memcpy(row + D, &scale, sizeof scale);
}

}  // namespace heddle
