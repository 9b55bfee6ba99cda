// Shared by the attention kernels on tensor cores: operands, the online softmax, and the approximate tanh of softcap.
#pragma once
#include "cuda/attention/attention.cuh"

namespace heddle {
namespace cuda {

constexpr float log2_e = 1.44269504f, ln_2 = 0.69314718f;

struct TensorAttention {
  const uint16_t *q, *k, *v;  // (N, H, D), (N, KH, D), (N, KH, D)
  View sinks;                 // (H), optional
  const RowSpan* spans;       // (N)
  uint16_t* o;                // (N, H, D)
  float* lse;                 // (N, H)
  int64_t N, T, H, KH, D;
  Scores scores;
};

// Returns the smallest range of keys that contains the spans of rows [row0, row0 + rows). Ignores rows from `end` on.
// The range is empty if no row sees a key. All lanes of a warp must call it.
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

// Returns tanh x = 1 - 2 / (1 + e^2x), with an absolute error below 2^-22. Times the cap, this is about the error of
// rounding the score to f32.
__device__ inline float soft_cap(float x) {
  return 1.0f - 2.0f * ptx::reciprocal(1.0f + ptx::power_of_two(2.0f * log2_e * x));
}

// A faster Scores::of. It uses soft_cap, and precomputes the division by the cap.
struct FastScores {
  float factor, cap;  // factor: scale / softcap, or scale without a softcap

  __device__ explicit FastScores(const Scores& s)
      : factor(s.softcap > 0 ? s.scale / s.softcap : s.scale), cap(s.softcap) {}
  __device__ float of(float product) const { return cap > 0 ? cap * soft_cap(product * factor) : product * factor; }
};

// Returns the maximum over the four lanes that share a row.
__device__ inline float quad_max(float v) {
  v = fmaxf(v, __shfl_xor_sync(all_lanes, v, 1));
  return fmaxf(v, __shfl_xor_sync(all_lanes, v, 2));
}
// Returns the sum over the four lanes that share a row.
__device__ inline float quad_sum(float v) {
  v += __shfl_xor_sync(all_lanes, v, 1);
  return v + __shfl_xor_sync(all_lanes, v, 2);
}

// The online softmax (Milakov & Gimelshein 2018) of a lane's two rows. In the accumulator layout of mma.sync and wgmma,
// these are rows lane / 4 and lane / 4 + 8 of the warp's 16. A weight is 2^(to_power * (score - largest)).
struct RunningRows {
  // largest: the row's largest score so far. sum: the sum of the weights in the lane's columns, not of the whole row.
  float largest[2], sum[2];

  // Updates the maxima for a tile. On entry, `now` is the maximum of `largest` and the lane's scores of this tile. On
  // return, it is the maximum over the whole row. `kept` receives the factors that rescale the sums of earlier tiles.
  // `base` receives the value to subtract from to_power * score.
  __device__ void raise(float (&now)[2], float to_power, float (&kept)[2], float (&base)[2]) {
    HEDDLE_UNROLL
    for (int h = 0; h < 2; ++h) {
      now[h] = quad_max(now[h]);
      base[h] = now[h] == -INFINITY ? 0.0f : now[h] * to_power;  // no visible key so far: all weights are 0
      kept[h] = ptx::power_of_two(largest[h] * to_power - base[h]);
      largest[h] = now[h];
      sum[h] *= kept[h];
    }
  }
};
// The same with the range of keys that each row sees.
struct SpannedRows : RunningRows {
  RowSpan span[2];

  // Starts row h of the lane. A sink is an additional logit without a value vector. Only one of the row's four lanes
  // counts it. score_of_logit: the factor that converts a logit to the unit of `largest`: log2(e), 1, or 1 / scale.
  __device__ void start(int h, const RowSpan& seen, const View& sinks, int64_t head, float score_of_logit) {
    span[h] = seen;
    largest[h] = sinks.data ? sinks[head] * score_of_logit : -INFINITY;
    sum[h] = sinks.data && threadIdx.x % 4 == 0 ? 1.0f : 0.0f;
  }
};
// The online softmax of queries `row` and row + 8 in attention over whole sequences.
struct QueryRows : SpannedRows {
  __device__ QueryRows(const TensorAttention& a, int64_t row, int64_t end, int64_t head, float score_of_logit) {
    HEDDLE_UNROLL
    for (int h = 0; h < 2; ++h)
      start(h, row + 8 * h < end ? a.spans[row + 8 * h] : RowSpan{0, 0}, a.sinks, head, score_of_logit);
  }
  // Normalizes and stores the outputs, and stores the log-sum-exp. pair(j, h) points to the lane's two accumulators in
  // columns [8 j, 8 j + 8) of row h.
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
      if (threadIdx.x % 4 == 0) a.lse[at] = total != 0 ? (largest[h] * to_power + log2f(total)) * ln_2 : -INFINITY;
    }
  }
};

// Launches the kernel of attention_sm90.cu. Requires sm_90a and sizes that attention_takes_warpgroups accepts.
void attention_warpgroup(const Context& c, const TensorAttention& a);

}  // namespace cuda
}  // namespace heddle
