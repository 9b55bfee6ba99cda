// Repairs rows that NaN or infinity in masked positions has reached. Kernels multiply masked values by a weight of 0,
// and 0 times NaN or infinity is NaN. Checking the stored outputs costs less than exact masks. A row that is not finite
// is computed again over visible keys only. If its query, or a visible key or value, is not finite, the row is left
// unchanged.
#pragma once
#include "cpu/attention/flash-inl.h"

namespace heddle {
namespace HEDDLE_ISA {

template <class T> inline bool row_finite(const T* from, int64_t width) {
  F sum = zero();  // becomes NaN at the first number that is not finite
  for (int64_t d = 0; d < width; d += W)
    sum = fma(load_n(from + d, static_cast<int>(min_of<int64_t>(W, width - d))), zero(), sum);
  return reduce_add(sum) == 0;
}
inline bool row_finite(const void* from, DType type, int64_t at, int64_t width) {
  if (type == DType::f32) return row_finite(static_cast<const float*>(from) + at, width);
  if (type == DType::bf16) return row_finite(static_cast<const bf16*>(from) + at, width);
  if (type == DType::f16) return row_finite(static_cast<const f16*>(from) + at, width);
  float scale;  // scale of a q8 row
  __builtin_memcpy(&scale, static_cast<const uint8_t*>(from) + at + width, sizeof scale);
  return scale * 0 == 0;
}

template <class T> inline bool rows_finite(const T* from, int64_t stride, int64_t rows, int64_t width) {
  F sum = zero(), sum2 = zero();
  const int64_t whole = width / (2 * W) * (2 * W);
  for (int64_t r = 0; r < rows; ++r, from += stride) {
    for (int64_t d = 0; d < whole; d += 2 * W)
      sum = fma(load(from + d), zero(), sum), sum2 = fma(load(from + d + W), zero(), sum2);
    for (int64_t d = whole; d < width; d += W)
      sum = fma(load_n(from + d, static_cast<int>(min_of<int64_t>(W, width - d))), zero(), sum);
  }
  return reduce_add(add(sum, sum2)) == 0;
}

// Whether all keys and values that row i sees are finite.
inline bool sees_finite(const FlashBlock& b, int64_t i) {
  for (int64_t j = b.mask.low(b.position + i), last = b.mask.high(b.position + i, b.keys); j < last; ++j) {
    const int64_t row = b.places ? b.places->row(b.slot, b.head, j) : b.ring > 0 ? j % b.ring : j;
    if (!row_finite(b.k, b.kv_type, row * b.kv_stride, b.width) ||
        !row_finite(b.v, b.kv_type, row * b.kv_stride, b.width))
      return false;
  }
  return true;
}

// Recomputes rows of the output that are not finite, if all that they see is finite. flash_forward of a single row
// reads visible keys only. work: flash_floats(width).
inline void fix_nan_rows(const FlashBlock& b, float* work) {
  const bool finite = b.o_type == DType::f32 ? rows_finite(static_cast<const float*>(b.o), b.o_stride, b.rows, b.width)
                                             : rows_finite(static_cast<const bf16*>(b.o), b.o_stride, b.rows, b.width);
  for (int64_t i = 0; !finite && i < b.rows; ++i) {
    const bool sees = b.mask.low(b.position + i) < b.mask.high(b.position + i, b.keys);
    if (row_finite(b.o, b.o_type, i * b.o_stride, b.width)) continue;
    if (sees && !(row_finite(b.q, b.q_type, i * b.q_stride, b.width) && sees_finite(b, i))) continue;
    FlashBlock one = b;
    one.q = element(b.q, b.q_type, i * b.q_stride), one.o = element(b.o, b.o_type, i * b.o_stride);
    if (b.lse) one.lse = b.lse + i * b.lse_stride;
    one.rows = 1, one.position = b.position + i;
    flash_forward(one, work);
  }
}

}  // namespace HEDDLE_ISA
}  // namespace heddle
