// Plain code for the bf16 matrix tile instructions, for test builds on processors without them.
// test/native/emulated_tiles.cc compares it with the instructions bit by bit on a processor that has them.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>

namespace heddle {
namespace emulated {

// To the nearest float, of halfway ones the even; what would then be subnormal is zero.
static inline float nearest(double v) {
  return std::fabs(v) < 0x1.ffffffp-127 ? std::copysign(0.0f, static_cast<float>(v)) : static_cast<float>(v);
}

// TDPBF16PS of whole tiles: the products of even elements and of odd ones are added up from zero along k, then their
// sum to c. A product and its addition round once; subnormals count as zero, of what goes in as of what comes out
// (Intel SDM). In double, which holds a product exactly and whose own rounding of such sums changes no float.
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
