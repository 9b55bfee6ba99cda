// Quantised rows as numbers and back: the plain forms, which references, files and cold paths use.
#pragma once
#include <cstdint>

#include "runtime/tensor.h"

namespace heddle {

// n elements, whole blocks, at `from` (any alignment) as floats. Throws INTERNAL for other types.
void dequantise(DType type, const void* from, int64_t n, float* to);

// Whether quantise() writes this type.
bool quantises_to(DType type);
// n floats as whole blocks. Not a number and infinity are not representable: throws NUMERICAL. UNSUPPORTED for types
// that are only read.
void quantise(DType type, const float* from, int64_t n, void* to);

// Elements of one group of activations, rounded to 8 bits with a scale of their own: the largest magnitude becomes 127.
constexpr int activation_group = 32;
constexpr float least_activation = 1e-30f;  // a group without a larger magnitude is zero
// n floats (the last group may be short) in place: each becomes scale * round(x / scale). The arithmetic is that of
// the kernels: inverse = 127 / largest, integer = x * inverse rounded to nearest even, scale = largest / 127, all float.
// A group with a value that is not finite becomes NaN.
void round_activations(float* x, int64_t n);

}  // namespace heddle
