// Shared by kernels: elements of any type as floats, reductions over a warp and a block, and activation functions.
#pragma once
#include "cuda/runtime/launch.cuh"
#include "cuda/ptx/ptx.cuh"
#include "core/tensor.h"

namespace heddle {
namespace cuda {

constexpr int warp_size = 32;
constexpr unsigned all_lanes = 0xffffffffu;

__device__ inline float bf16_to_float(uint16_t bits) { return __uint_as_float(static_cast<unsigned>(bits) << 16); }
__device__ inline uint16_t float_to_bf16(float f) {  // to nearest even; NaN stays NaN
  const unsigned u = __float_as_uint(f);
  if ((u & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>((u >> 16) | 0x40);
  return static_cast<uint16_t>((u + 0x7fffu + ((u >> 16) & 1)) >> 16);
}

// An operand whose element type is known at run time. The branch is uniform over all threads.
struct View {
  const void* data;
  DType type;

  __device__ float operator[](int64_t i) const {
    switch (type) {
      case DType::f32: return static_cast<const float*>(data)[i];
      case DType::bf16: return bf16_to_float(static_cast<const uint16_t*>(data)[i]);
      case DType::f16: return ptx::half_to_float(static_cast<const uint16_t*>(data)[i]);
      default: return static_cast<float>(static_cast<const int32_t*>(data)[i]);
    }
  }
};

// A writable View.
struct Out {
  void* data;
  DType type;

  __device__ void store(int64_t i, float v) const {
    switch (type) {
      case DType::f32: static_cast<float*>(data)[i] = v; return;
      case DType::bf16: static_cast<uint16_t*>(data)[i] = float_to_bf16(v); return;
      default: static_cast<uint16_t*>(data)[i] = ptx::float_to_half(v);
    }
  }
  __device__ float operator[](int64_t i) const { return View{data, type}[i]; }
};

inline View view(const Tensor& t) { return {t.data, t.dtype}; }
inline View optional_view(const Node& n, size_t i) {
  return n.has_input(i) ? view(n.in[i]) : View{nullptr, DType::f32};
}
inline Out out(const Tensor& t) { return {t.data, t.dtype}; }

inline bool is_activation(const Tensor& t) { return t.dtype == DType::f32 || t.dtype == DType::bf16; }
inline bool is_float(const Tensor& t) { return is_activation(t) || t.dtype == DType::f16; }
// Whether no floating operand is quantized. Quantized weights have separate kernels.
inline bool no_quantised(const Node& n) {
  for (size_t i = 0; i < n.in.size(); ++i)
    if (n.has_input(i) && is_quantised(n.in[i].dtype)) return false;
  return true;
}

// ---- reductions: all lanes get the result

template <class T> __device__ inline T warp_sum(T v) {
  for (int lanes = 16; lanes > 0; lanes /= 2) v += __shfl_xor_sync(all_lanes, v, lanes);
  return v;
}
__device__ inline float warp_max(float v) {
  for (int lanes = 16; lanes > 0; lanes /= 2) {
    const float other = __shfl_xor_sync(all_lanes, v, lanes);
    v = other > v ? other : v;
  }
  return v;
}

// Reduces over a block of `threads` threads, a multiple of 32. All threads must call it, and all get the result.
template <int threads, class T> __device__ inline T block_sum(T v) {
  constexpr int warps = threads / warp_size;
  HEDDLE_SHARED(T, partial, [warps]);
  const int lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size;
  v = warp_sum(v);
  if (lane == 0) partial[warp] = v;
  __syncthreads();
  v = warp_sum(lane < warps ? partial[lane] : T(0));
  __syncthreads();  // the next call overwrites `partial`
  return v;
}
template <int threads> __device__ inline float block_max(float v) {
  constexpr int warps = threads / warp_size;
  HEDDLE_SHARED(float, partial, [warps]);
  const int lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size;
  v = warp_max(v);
  if (lane == 0) partial[warp] = v;
  __syncthreads();
  v = warp_max(lane < warps ? partial[lane] : -INFINITY);
  __syncthreads();
  return v;
}

// ---- activation functions, as native/ops/activation.h defines them

struct Activated {
  float value, derivative;
};

__device__ inline Activated silu(float x) {
  const float s = 1.0f / (1.0f + expf(-x));
  return {x * s, s * (1.0f + x * (1.0f - s))};
}
__device__ inline Activated gelu_erf(float x) {
  const float cdf = 0.5f * erfcf(-x * 0.70710678f), density = 0.39894228f * expf(-0.5f * x * x);
  return {x * cdf, cdf + x * density};
}
__device__ inline Activated gelu_tanh(float x) {
  const float c = 0.79788456f;  // sqrt(2 / pi)
  const float t = tanhf(c * (x + 0.044715f * x * x * x));
  return {0.5f * x * (1.0f + t), 0.5f * (1.0f + t) + 0.5f * x * (1.0f - t * t) * c * (1.0f + 3.0f * 0.044715f * x * x)};
}
__device__ inline Activated activate(int activation, float x) {
  return activation == 0 ? silu(x) : activation == 1 ? gelu_tanh(x) : gelu_erf(x);
}
// Applies an activation of a product's epilogue: those of activate(), 3 for relu, 4 for squared relu. NaN stays NaN, as
// in native/ops/unary.cc.
__device__ inline float activated(int activation, float x) {
  if (activation < 3) return activate(activation, x).value;
  const float positive = x <= 0.0f ? 0.0f : x;
  return activation == 3 ? positive : positive * positive;
}

}  // namespace cuda
}  // namespace heddle
