// Rounds activations to 8 bits in groups of 32, as round_activations (native/ops/quant.h) does.
#pragma once
#include "cuda/quant/gemm_int8.cuh"
#include "cuda/quant/quant.cuh"
#include "ops/quant.h"

namespace heddle {
namespace cuda {
namespace int8 {

constexpr int group = activation_group, group_runs = group / run_elements;
static_assert(group_runs == 2, "two lanes share a group, and each stores the sum of one run");

// Rows of K activations: element = q * the group's scale. `sum` has the sum of each run of 16 elements. A product
// multiplies it by the minimum of the weight's Run.
struct Rows {
  int8_t* q;     // (N, K), aligned to 16 bytes
  float* scale;  // (N, K / 32)
  float* sum;    // (N, K / 16)
};

// Returns the place at which a run is stored. In shared memory, runs 8 to 15 of each 16 runs change places: the two
// halves of each 64 bytes are exchanged. Lanes that read runs 0, 1, 4, 5, 8, … of a row, as those of q4_k do, then use
// different banks. For this exchange, the array of q is padded to a multiple of 64 bytes.
template <bool shared> __host__ __device__ constexpr unsigned place_of(unsigned run) {
  return shared ? run ^ (run >> 2 & 2) : run;
}
__host__ __device__ inline int64_t padded(int64_t elements) { return round_up(elements, 64); }
__host__ __device__ inline int64_t bytes_of(int64_t elements) {
  return padded(elements) + (elements / group + elements / run_elements) * static_cast<int64_t>(sizeof(float));
}
__host__ __device__ inline Rows rows_at(void* memory, int64_t elements) {
  int8_t* q = static_cast<int8_t*>(memory);
  float* scale = reinterpret_cast<float*>(q + padded(elements));
  return {q, scale, scale + elements / group};
}

// Adding 1.5 * 2^23 rounds to an integer, to nearest even, if the magnitude is at most 2^22. The low bits of the sum's
// representation are then those of the integer.
constexpr float shift = 12582912.0f;
// Returns v * inverse + shift, with two roundings. nvcc would contract a plain product and sum to an FMA.
__device__ inline float shifted(float v, float inverse) {
#if HEDDLE_EMULATED
  return v * inverse + shift;
#else
  return __fadd_rn(__fmul_rn(v, inverse), shift);
#endif
}
// Multiplies four values by `inverse`, rounds them to integers, and returns these as the bytes of a word.
__device__ inline uint32_t bytes_of(const float* v, float inverse) {
  uint32_t bits[4];
  HEDDLE_UNROLL
  for (int i = 0; i < 4; ++i) bits[i] = __float_as_uint(shifted(v[i], inverse));
  return __byte_perm(__byte_perm(bits[0], bits[1], 0x0040), __byte_perm(bits[2], bits[3], 0x0040), 0x5410);
}

// Rounds `groups` groups of x. Thread `thread` of `threads` takes half of each of its groups: eight elements of each
// run. The lane next to it takes the other half. All threads of a warp must call it.
template <bool shared>
__device__ inline void round_rows(const View& x, int64_t groups, const Rows& to, int64_t thread, int64_t threads) {
  constexpr int count = run_elements / 2;
  const int half = threadIdx.x % 2;
  for (int64_t first = thread - threadIdx.x % warp_size; first < 2 * groups; first += threads) {
    const int64_t own = (first + threadIdx.x % warp_size) / 2, g = own < groups ? own : groups - 1;
    const int64_t at = g * group + half * count;
    float low[count], high[count];
    load_elements(x, at, low);
    load_elements(x, at + run_elements, high);
    // The bits of magnitudes, as integers, have the order of the magnitudes. Those of infinity and NaN are the largest.
    uint32_t bits = 0;
    HEDDLE_UNROLL
    for (int e = 0; e < count; ++e) {
      const uint32_t one = __float_as_uint(low[e]) & 0x7fffffffu, other = __float_as_uint(high[e]) & 0x7fffffffu;
      const uint32_t larger = one > other ? one : other;
      bits = bits > larger ? bits : larger;
    }
    const uint32_t neighbors = __shfl_xor_sync(all_lanes, bits, 1);
    bits = bits > neighbors ? bits : neighbors;
    const bool finite = bits < 0x7f800000u;
    const float largest = __uint_as_float(bits);
    const bool is_nonzero = finite && largest > least_activation;
    // The sum of the squared rounding errors of the group, in units of the squared step. The order of additions is that
    // of round_activations, so that both choose the same number of steps.
    const auto squared_error = [&](float inverse) {
      float sum[count];
      HEDDLE_UNROLL
      for (int e = 0; e < count; ++e) {
        const float l = fmaf(low[e], inverse, shift - shifted(low[e], inverse)),
                    h = fmaf(high[e], inverse, shift - shifted(high[e], inverse));
        sum[e] = fmaf(h, h, l * l);
      }
      const float a = (sum[0] + sum[2]) + (sum[1] + sum[3]), b = (sum[4] + sum[6]) + (sum[5] + sum[7]);
      return (a + __shfl_xor_sync(all_lanes, a, 1)) + (b + __shfl_xor_sync(all_lanes, b, 1));
    };
    constexpr float most = activation_steps[0], fewer = activation_steps[1];
    const float error = squared_error(is_nonzero ? most / largest : 0.0f),
                fewer_error = squared_error(is_nonzero ? fewer / largest : 0.0f);
    // The comparison of second_steps_leave_less (native/ops/quant.h), which is a host function.
    const float steps = fewer_error * (most * most) < error * (fewer * fewer) ? fewer : most;
    const float inverse = is_nonzero ? steps / largest : 0.0f, scale = finite ? largest / steps : NAN;
    const uint2 bytes[2] = {
        {bytes_of(low, inverse), bytes_of(low + 4, inverse)}, {bytes_of(high, inverse), bytes_of(high + 4, inverse)}};
    const auto sum_of = [](const uint2& eight) {
      return __dp4a(static_cast<int>(eight.x), 0x01010101, __dp4a(static_cast<int>(eight.y), 0x01010101, 0));
    };
    // Each lane completes the sum of one run, and stores it.
    const int low_sum = sum_of(bytes[0]), high_sum = sum_of(bytes[1]);
    const int sum = (half ? high_sum : low_sum) + __shfl_xor_sync(all_lanes, half ? low_sum : high_sum, 1);
    if (own >= groups) continue;
    HEDDLE_UNROLL
    for (int run = 0; run < 2; ++run) {
      const int64_t place = place_of<shared>(static_cast<unsigned>(group_runs * g + run));
      *reinterpret_cast<uint2*>(to.q + place * run_elements + half * count) = bytes[run];
    }
    if (half == 0) to.scale[g] = scale;
    to.sum[group_runs * g + half] = scale * static_cast<float>(sum);
  }
}

}  // namespace int8
}  // namespace cuda
}  // namespace heddle
