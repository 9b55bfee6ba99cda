// What the attention kernels on tensor cores share.
#pragma once
#include "cuda/attention.cuh"

namespace heddle {
namespace cuda {

constexpr float log2_e = 1.44269504f, ln_2 = 0.69314718f;

struct TensorAttention {
  const uint16_t *q, *k, *v;  // (N, H, D), (N, KH, D), (N, KH, D)
  View sinks;                 // (H)?
  const RowSpan* spans;       // (N)
  uint16_t* o;                // (N, H, D)
  float* lse;                 // (N, H)
  int64_t N, T, H, KH, D;
  Scores scores;
};

// The keys from the first to the last that any of `rows` rows from row0 on sees, none from `end` on; empty where none sees any. For whole warps.
template <int rows> __device__ inline RowSpan seen_by(const RowSpan* spans, int64_t row0, int64_t end) {
  int32_t first = 0x7fffffff, last = 0;
  for (int r = threadIdx.x % warp_size; r < rows; r += warp_size) {
    if (row0 + r >= end) continue;
    const RowSpan s = spans[row0 + r];
    if (s.first == s.last) continue;
    first = s.first < first ? s.first : first;
    last = s.last > last ? s.last : last;
  }
  for (int lanes = warp_size / 2; lanes > 0; lanes /= 2) {
    first = min(first, __shfl_xor_sync(all_lanes, first, lanes));
    last = max(last, __shfl_xor_sync(all_lanes, last, lanes));
  }
  return {last > first ? first : last, last};
}

// tanh x = 1 - 2 / (1 + e^2x), within 2^-22: times the cap that is what a score's own rounding is.
__device__ inline float soft_cap(float x) { return 1.0f - 2.0f * ptx::reciprocal(1.0f + ptx::power_of_two(2.0f * log2_e * x)); }

__device__ inline float quad_max(float v) {  // over the four lanes that share a row
  v = fmaxf(v, __shfl_xor_sync(all_lanes, v, 1));
  return fmaxf(v, __shfl_xor_sync(all_lanes, v, 2));
}
__device__ inline float quad_sum(float v) {
  v += __shfl_xor_sync(all_lanes, v, 1);
  return v + __shfl_xor_sync(all_lanes, v, 2);
}

// On sm_90a alone: attention_takes_warpgroups says where.
void attention_warpgroup(const Context& c, const TensorAttention& a);

}  // namespace cuda
}  // namespace heddle
