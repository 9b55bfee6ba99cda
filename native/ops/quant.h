// Quantised rows as numbers and back: the plain forms, which references, files and cold paths use.
#pragma once
#include <cstdint>

#include "core/tensor.h"

namespace heddle {

// n elements, whole blocks, at `from` (any alignment) as floats. Throws INTERNAL for other types.
void dequantise(DType type, const void* from, int64_t n, float* to);

// Whether quantise() writes this type.
bool quantises_to(DType type);
// n floats as whole blocks. Not a number and infinity are not representable: throws NUMERICAL. UNSUPPORTED for types
// that are only read.
void quantise(DType type, const float* from, int64_t n, void* to);

// Elements of one group of activations, rounded to 8 bits with a scale of their own: the largest magnitude becomes 127 or 126, whichever
// leaves less of the group, as a sum of squares. Of normal numbers that is a twelfth less, and so 4 % less of an error, than with 127 steps always.
constexpr int activation_group = 32;
constexpr float least_activation = 1e-30f;  // a group without a larger magnitude is zero
constexpr float activation_steps[2] = {127.0f, 126.0f};
// Whether the second number of steps leaves less, given the squares that each leaves in its own steps.
inline bool second_steps_leave_less(float first, float second) {
  return second * (activation_steps[0] * activation_steps[0]) < first * (activation_steps[1] * activation_steps[1]);
}
// n floats (the last group may be short) in place: each becomes scale * round(x / scale). The arithmetic is that of
// the kernels, all float: inverse = steps / largest, integer = x * inverse rounded to nearest even, scale = largest / steps. What is
// left of x[i] is r[i] = fma(x, inverse, -integer); their squares are added as s[i] = fma(r[i + 16], r[i + 16], r[i] * r[i]), then
// s[i] += s[i ^ d] for d = 2, 1, 8, 4: all who add so choose alike. A group with a value that is not finite becomes NaN.
void round_activations(float* x, int64_t n);

}  // namespace heddle
