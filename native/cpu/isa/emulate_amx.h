// Emulates the bf16 AMX instructions, for test builds on processors without them. test/native/emulated_tiles.cc
// compares it bit by bit with the instructions on a processor that has them.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>

namespace heddle {
namespace emulated {

// Rounds to the nearest float, ties to even. Results that would be subnormal become zero.
// The bound is the smallest number that rounds up to the smallest normal float, with 24 bits of precision.
static inline float nearest(double v) {
  return std::fabs(v) < 0x1.ffffffp-127 ? std::copysign(0.0f, static_cast<float>(v)) : static_cast<float>(v);
}

// Computes TDPBF16PS of whole tiles: a has 16 rows of 32 bf16, b has 16 rows of 16 pairs. For each element of c, the
// products of even k and those of odd k have separate sums, which start at zero. Then their total is added to c. Each
// product is added with one rounding, like an FMA. Subnormal inputs and results count as zero (Intel SDM). A double
// holds a product exactly, and rounding a sum to double first never changes the float result.
static inline void tdpbf16ps(float* c, const uint16_t* a, const uint16_t* b) {
  double left[512], right[512];
  const auto numbers = [](const uint16_t* from, double* to) {
    for (int i = 0; i < 512; ++i) {
      const uint32_t bits = (from[i] & 0x7f80) ? uint32_t{from[i]} << 16 : uint32_t{from[i]} >> 15 << 31;
      float f;
      std::memcpy(&f, &bits, sizeof f);
      to[i] = f;
    }
  };
  numbers(a, left), numbers(b, right);
  for (int m = 0; m < 16; ++m) {
    float sum[32] = {};
    for (int k = 0; k < 16; ++k)
      for (int i = 0; i < 32; ++i) sum[i] = nearest(sum[i] + left[32 * m + 2 * k + i % 2] * right[32 * k + i]);
    for (int n = 0; n < 16; ++n)
      c[16 * m + n] = nearest(nearest(c[16 * m + n]) + double{nearest(double{sum[2 * n]} + sum[2 * n + 1])});
  }
}

}  // namespace emulated
}  // namespace heddle
