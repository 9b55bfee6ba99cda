// Conversions between quantized rows and floats, for references, files and rarely executed paths.
#pragma once
#include <cstdint>

#include "core/tensor.h"

namespace heddle {

// Converts n elements (whole blocks) at `from`, at any alignment, to floats. Throws INTERNAL if `type` is not
// quantized.
void dequantize(DType type, const void* from, int64_t n, float* to);

// Whether quantize() writes this type.
bool quantizes_to(DType type);
// Converts n floats to whole blocks. Throws NUMERICAL for NaN and for magnitudes above largest_quantized
// (quant_write.h). Throws UNSUPPORTED if quantizes_to(type) is false.
void quantize(DType type, const float* from, int64_t n, void* to);

// Number of activations in a group, which is rounded to 8 bits with one scale. The group's largest magnitude becomes
// 127 or 126, whichever gives the smaller squared error.
constexpr int activation_group = 32;
constexpr float least_activation = 1e-30f;  // a group without a greater magnitude becomes zero
constexpr float activation_steps[2] = {127.0f, 126.0f};
// Whether 126 steps have the smaller squared error. `first` and `second` are the errors with 127 and 126 steps, each in
// units of its squared step.
inline bool second_steps_leave_less(float first, float second) {
  return second * (activation_steps[0] * activation_steps[0]) < first * (activation_steps[1] * activation_steps[1]);
}
// Rounds n floats in place to scale * round(x / scale). The last group may be short. The arithmetic is that of the
// kernels, all float: inverse = steps / largest, integer = x * inverse rounded to nearest even, scale = largest /
// steps. The error of x[i] is r[i] = fma(x, inverse, -integer). Squares are added in this order, so that all
// implementations choose alike: s[i] = fma(r[i + 16], r[i + 16], r[i] * r[i]); s[i] += s[i ^ d] for d = 2, 1, 8, 4.
// A group with a value that is not finite becomes NaN.
void round_activations(float* x, int64_t n);

}  // namespace heddle
