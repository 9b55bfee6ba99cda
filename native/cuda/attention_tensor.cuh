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
