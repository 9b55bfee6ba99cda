// What the plain forms and the kernels that write quantised blocks share, so that both make the same bytes: no function here is compiled for an
// instruction set.
#pragma once
#include <cstdint>

namespace heddle {

// A search gives the largest number of a group its integer and so many tenths more and less: of groups without a minimum, and with one.
constexpr int scale_steps = 9, affine_steps = 10;

// What a half scale times the widest integer reaches in every type that is written.
constexpr float largest_quantised = 65504.0f * 7;

// The two units of a block of q4_k, whose scales and minima its 8 groups' are multiples of: stored at `to`, and once a group in d and dmin.
void q4_k_units(const float* scale, const float* minimum, uint8_t* to, float* d, float* dmin);
// The multiples, integers in [0, 63], as the block stores them.
void q4_k_scales(const float* scale, const float* minimum, uint8_t* to);
// The unit of the 16 scales of a block of q6_k: stored at `to`.
float q6_k_unit(const float* scale, uint8_t* to);

}  // namespace heddle
