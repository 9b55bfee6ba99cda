// Shared by the attention kernels on tensor cores.
#pragma once
#include "cuda/attention/attention.cuh"

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

// The keys from the first to the last that any of `rows` rows from row0 on sees, none from `end` on; empty where none
// sees any. For whole warps.
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
__device__ inline float soft_cap(float x) {
  return 1.0f - 2.0f * ptx::reciprocal(1.0f + ptx::power_of_two(2.0f * log2_e * x));
}

__device__ inline float quad_max(float v) {  // over the four lanes that share a row
  v = fmaxf(v, __shfl_xor_sync(all_lanes, v, 1));
  return fmaxf(v, __shfl_xor_sync(all_lanes, v, 2));
}
__device__ inline float quad_sum(float v) {
  v += __shfl_xor_sync(all_lanes, v, 1);
  return v + __shfl_xor_sync(all_lanes, v, 2);
}

// A lane's state for its two of a warp's sixteen rows, lane / 4 and lane / 4 + 8. Weights are 2^(to_power * (score -
// largest)).
struct RunningRows {
  float largest[2], sum[2];  // so far; of the lane's columns

  // now: the largest of the lane's scores of a tile and before, becomes that of the whole rows. kept: what earlier sums
  // are multiplied by. base: what is taken from a score's power.
  __device__ void raise(float (&now)[2], float to_power, float (&kept)[2], float (&base)[2]) {
    HEDDLE_UNROLL
    for (int h = 0; h < 2; ++h) {
      now[h] = quad_max(now[h]);
      base[h] = now[h] == -INFINITY ? 0.0f : now[h] * to_power;  // nothing seen so far: all weights are zero
      kept[h] = ptx::power_of_two(largest[h] * to_power - base[h]);
      largest[h] = now[h];
      sum[h] *= kept[h];
    }
  }
};
// The same of attention over whole sequences: of queries `row` and row + 8.
struct QueryRows : RunningRows {
  RowSpan span[2];

  // score_of_logit: a logit, as scores are counted.
  __device__ QueryRows(const TensorAttention& a, int64_t row, int64_t end, int64_t head, float score_of_logit) {
    HEDDLE_UNROLL
    for (int h = 0; h < 2; ++h) {
      span[h] = row + 8 * h < end ? a.spans[row + 8 * h] : RowSpan{0, 0};
      // A sink is one more logit that has no value; one lane counts it.
      largest[h] = a.sinks.data ? a.sinks[head] * score_of_logit : -INFINITY;
      sum[h] = a.sinks.data && threadIdx.x % 4 == 0 ? 1.0f : 0.0f;
    }
  }
  // Ends the rows. pair(j, h): the lane's two sums of columns [8 j, 8 j + 8) of row h.
  template <int width, class F>
  __device__ void store(const TensorAttention& a, int64_t row, int64_t end, int64_t head, float to_power, F pair) {
    HEDDLE_UNROLL
    for (int h = 0; h < 2; ++h) {
      const float total = quad_sum(sum[h]), inverse = total > 0 ? 1.0f / total : 0.0f;
      if (row + 8 * h >= end) continue;
      const int64_t at = (row + 8 * h) * a.H + head;
      HEDDLE_UNROLL
      for (int j = 0; j < width / 8; ++j)
        if (8 * j < a.D)
          *reinterpret_cast<uint32_t*>(a.o + at * a.D + 8 * j + threadIdx.x % 4 * 2) =
              ptx::pack_bf16(pair(j, h)[0] * inverse, pair(j, h)[1] * inverse);
      if (threadIdx.x % 4 == 0) a.lse[at] = total > 0 ? (largest[h] * to_power + log2f(total)) * ln_2 : -INFINITY;
    }
  }
};

// On sm_90a alone: attention_takes_warpgroups says where.
void attention_warpgroup(const Context& c, const TensorAttention& a);

}  // namespace cuda
}  // namespace heddle
