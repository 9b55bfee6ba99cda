// Shared by the reference and the kernels that write quantized blocks, so that both write the same bytes. No function
// here is compiled for a particular instruction set.
#pragma once
#include <cstdint>

namespace heddle {

// Number of scales tried on each side of the initial scale: scale_steps without a minimum, and affine_steps with one.
// The scales map the group's largest magnitude (with a minimum, its range) to values that are 0.1 apart.
constexpr int scale_steps = 9, affine_steps = 10;

// The largest magnitude that every written type can hold. 65504 is the largest f16, the type of a scale, and 7 the
// largest integer of q4_0.
constexpr float largest_quantized = 65504.0f * 7;

// Writes the d and dmin of a q4_k block to `to`, and one copy per group to d and dmin. The scales and minima of the
// block's 8 groups are multiples of them.
void q4_k_units(const float* scale, const float* minimum, uint8_t* to, float* d, float* dmin);
// Writes the scales and minima of a q4_k block, given as integers in [0, 63], to its 12 bytes at `to`.
void q4_k_scales(const float* scale, const float* minimum, uint8_t* to);
// Writes the d of a q6_k block, the unit of its 16 scales, to `to`, and returns it.
float q6_k_unit(const float* scale, uint8_t* to);

}  // namespace heddle
