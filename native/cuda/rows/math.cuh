// Shared by all kernels: loads and stores of elements of any type as floats, reductions over a warp and a block, and
// activation functions.
#pragma once
#include "cuda/runtime/launch.cuh"
#include "cuda/ptx/ptx.cuh"
#include "core/tensor.h"

namespace heddle {
namespace cuda {

constexpr int warp_size = 32;
constexpr unsigned all_lanes = 0xffffffffu;

__device__ inline float bf16_to_float(uint16_t bits) { return __uint_as_float(static_cast<unsigned>(bits) << 16); }
using ptx::float_to_bf16;

// An operand whose element type is only known at run time. The branch on the type is uniform over all threads. i32
// elements convert to float.
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

// A writable operand of f32, bf16 or f16 elements.
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

// Converts eight bf16 elements to floats.
__device__ inline void unpack_bf16(const uint4& eight, float (&to)[8]) {
  const uint32_t two[4] = {eight.x, eight.y, eight.z, eight.w};
  HEDDLE_UNROLL
  for (int i = 0; i < 4; ++i)
    to[2 * i] = __uint_as_float(two[i] << 16), to[2 * i + 1] = __uint_as_float(two[i] & 0xffff0000u);
}

// Loads `count` elements of x from index `at` on, which must be a multiple of 8. Checks the type once for all elements.
// Loads 16 bytes at a time if x.data is 16-byte aligned. The branches are uniform over the warp.
template <int count> __device__ inline void load_elements(const View& x, int64_t at, float (&to)[count]) {
  static_assert(count % 8 == 0, "count must be a multiple of the widest load");
  const bool whole = reinterpret_cast<uintptr_t>(x.data) % 16 == 0;
  if (x.type == DType::f32) {
    const float* from = static_cast<const float*>(x.data) + at;
    HEDDLE_UNROLL
    for (int e = 0; e < count; e += 4) {
      if (whole) {
        const float4 four = *reinterpret_cast<const float4*>(from + e);
        to[e] = four.x, to[e + 1] = four.y, to[e + 2] = four.z, to[e + 3] = four.w;
      } else {
        HEDDLE_UNROLL
        for (int i = 0; i < 4; ++i) to[e + i] = from[e + i];
      }
    }
  } else {
    const uint16_t* from = static_cast<const uint16_t*>(x.data) + at;
    HEDDLE_UNROLL
    for (int e = 0; e < count; e += 8) {
      uint32_t two[4];
      if (whole) {
        const uint4 eight = *reinterpret_cast<const uint4*>(from + e);
        two[0] = eight.x, two[1] = eight.y, two[2] = eight.z, two[3] = eight.w;
      } else {
        HEDDLE_UNROLL
        for (int i = 0; i < 4; ++i) two[i] = from[e + 2 * i] | static_cast<uint32_t>(from[e + 2 * i + 1]) << 16;
      }
      HEDDLE_UNROLL
      for (int i = 0; i < 8; ++i) {
        const uint16_t bits = static_cast<uint16_t>(two[i / 2] >> 16 * (i % 2));
        to[e + i] = x.type == DType::bf16 ? bf16_to_float(bits) : ptx::half_to_float(bits);
      }
    }
  }
}

// Returns v rounded to the type: f32, bf16 or f16.
__device__ inline float rounded_to(DType type, float v) {
  return type == DType::f32    ? v
         : type == DType::bf16 ? bf16_to_float(float_to_bf16(v))
                               : ptx::half_to_float(ptx::float_to_half(v));
}

// The elements of a vector: a thread loads and stores that many adjacent elements at a time, if alignment allows it.
constexpr int vector_elements = 8;

// Like load_elements for a vector, whose address must be 16-byte aligned. Takes less code, because it has only wide
// loads.
__device__ inline void load_vector(const View& x, int64_t at, float (&to)[vector_elements]) {
  if (x.type == DType::f32) {
    const float4* four = reinterpret_cast<const float4*>(static_cast<const float*>(x.data) + at);
    const float4 low = four[0], high = four[1];
    to[0] = low.x, to[1] = low.y, to[2] = low.z, to[3] = low.w;
    to[4] = high.x, to[5] = high.y, to[6] = high.z, to[7] = high.w;
    return;
  }
  const uint4 eight = *reinterpret_cast<const uint4*>(static_cast<const uint16_t*>(x.data) + at);
  const uint32_t two[4] = {eight.x, eight.y, eight.z, eight.w};
  HEDDLE_UNROLL
  for (int i = 0; i < vector_elements; ++i) {
    const uint16_t bits = static_cast<uint16_t>(two[i / 2] >> 16 * (i % 2));
    to[i] = x.type == DType::bf16 ? bf16_to_float(bits) : ptx::half_to_float(bits);
  }
}

// Stores eight elements from index `at` on, whose address must be 16-byte aligned.
__device__ inline void store_elements(const Out& to, int64_t at, const float (&v)[vector_elements]) {
  if (to.type == DType::f32) {
    float4* four = reinterpret_cast<float4*>(static_cast<float*>(to.data) + at);
    four[0] = float4{v[0], v[1], v[2], v[3]}, four[1] = float4{v[4], v[5], v[6], v[7]};
    return;
  }
  uint32_t two[4];
  HEDDLE_UNROLL
  for (int i = 0; i < 4; ++i)
    two[i] = to.type == DType::bf16
                 ? ptx::pack_bf16(v[2 * i], v[2 * i + 1])
                 : ptx::float_to_half(v[2 * i]) | static_cast<uint32_t>(ptx::float_to_half(v[2 * i + 1])) << 16;
  *reinterpret_cast<uint4*>(static_cast<uint16_t*>(to.data) + at) = uint4{two[0], two[1], two[2], two[3]};
}
// Whether load_vector and store_elements can access the operand 16 bytes at a time, at indices that are multiples
// of 8.
inline bool has_vectors(const void* data, DType type) {
  return reinterpret_cast<uintptr_t>(data) % 16 == 0 &&
         (type == DType::f32 || type == DType::bf16 || type == DType::f16);
}
inline bool has_vectors(const View& x) { return has_vectors(x.data, x.type); }
inline bool has_vectors_or_none(const View& x) { return !x.data || has_vectors(x); }
inline bool has_vectors(const Out& y) { return has_vectors(y.data, y.type); }

inline View view(const Tensor& t) { return {t.data, t.dtype}; }
inline View optional_view(const Node& n, size_t i) {
  return n.has_input(i) ? view(n.in[i]) : View{nullptr, DType::f32};
}
inline Out out(const Tensor& t) { return {t.data, t.dtype}; }

inline bool is_activation(const Tensor& t) { return t.dtype == DType::f32 || t.dtype == DType::bf16; }
inline bool is_float(const Tensor& t) { return is_activation(t) || t.dtype == DType::f16; }
// Whether no input is quantized, for `supports` of kernels that read Views.
inline bool no_quantized(const Node& n) {
  for (size_t i = 0; i < n.in.size(); ++i)
    if (n.has_input(i) && is_quantized(n.in[i].dtype)) return false;
  return true;
}

// ---- reductions: all lanes get the result

template <class T> __device__ inline T warp_sum(T v) {
  for (int lanes = 16; lanes > 0; lanes /= 2) v += __shfl_xor_sync(all_lanes, v, lanes);
  return v;
}
// A lane with NaN keeps NaN, and the other lanes ignore it. The result can then differ between lanes. A branch that
// must be uniform over the warp must not depend on it.
__device__ inline float warp_max(float v) {
  for (int lanes = 16; lanes > 0; lanes /= 2) {
    const float other = __shfl_xor_sync(all_lanes, v, lanes);
    v = other > v ? other : v;
  }
  return v;
}
__device__ inline unsigned long long warp_min(unsigned long long v) {
  for (int lanes = 16; lanes > 0; lanes /= 2) {
    const unsigned long long other = __shfl_xor_sync(all_lanes, v, lanes);
    v = other < v ? other : v;
  }
  return v;
}

// Reductions over a block of `threads` threads, a multiple of 32. All threads must call each, and all get the result.
//
// Successive calls use the two halves of a block's shared memory in turn. Each call has a barrier after its writes.
// When a thread has passed it, all threads have read the results of the call before. So the next call may overwrite
// those, without another barrier. This holds only if all calls of a kernel are made through one object.
template <int threads> class BlockReduction {
 public:
  template <class T> __device__ T sum(T v) {
    return over_warps(warp_sum(v), T(0), [](T of_warp) { return warp_sum(of_warp); });
  }
  // NaN is treated as in warp_max.
  __device__ float max(float v) {
    return over_warps(warp_max(v), -INFINITY, [](float of_warp) { return warp_max(of_warp); });
  }
  __device__ unsigned long long min(unsigned long long v) {
    return over_warps(warp_min(v), ~0ull, [](unsigned long long of_warp) { return warp_min(of_warp); });
  }

 private:
  // Reduces one value per warp. over_lanes reduces the values of a warp's lanes, and `none` does not change its result.
  template <class T, class F> __device__ T over_warps(T of_warp, T none, F over_lanes) {
    constexpr int warps = threads / warp_size;
    HEDDLE_SHARED(T, partial, [2][warps]);
    const int lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size;
    if (lane == 0) partial[half_][warp] = of_warp;
    __syncthreads();
    const T v = over_lanes(lane < warps ? partial[half_][lane] : none);
    half_ ^= 1;
    return v;
  }
  int half_ = 0;
};

// Returns the derivative of tanh, 1 - tanh^2 x = 4 e / (1 + e)^2 with e = exp(-2 |x|). It neither overflows nor
// cancels.
__device__ inline float tanh_slope(float x) {
  const float e = expf(-2.0f * fabsf(x)), s = 1.0f + e;
  return 4.0f * e / (s * s);
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
  // (1 + tanh(z / 2)) / 2 is sigmoid(z), which does not cancel for z < 0. Its derivative is e / (1 + e)^2.
  const float c = 2.0f * 0.79788456f;  // 2 sqrt(2 / pi)
  const float z = c * (x + 0.044715f * x * x * x), e = expf(-fabsf(z)), r = 1.0f / (1.0f + e);
  const float gate = z < 0.0f ? e * r : r;
  return {x * gate, gate + x * e * r * r * c * (1.0f + 3.0f * 0.044715f * x * x)};
}
// activation: 0 is SiLU, 1 is GELU with the tanh approximation, 2 is GELU.
__device__ inline Activated activate(int activation, float x) {
  return activation == 0 ? silu(x) : activation == 1 ? gelu_tanh(x) : gelu_erf(x);
}
// Applies the activation of an epilogue to `width` values: 0 to 2 as in activate(), 3 is ReLU, 4 is squared ReLU. NaN
// stays NaN, as in native/ops/unary.cc.
template <int width> __device__ inline void activate_run(int activation, float (&v)[width]) {
  const auto each = [&](auto f) {
    HEDDLE_UNROLL
    for (int i = 0; i < width; ++i) v[i] = f(v[i]);
  };
  const auto positive = [](float x) { return x <= 0.0f ? 0.0f : x; };
  switch (activation) {
    case 0: each([](float x) { return silu(x).value; }); return;
    case 1: each([](float x) { return gelu_tanh(x).value; }); return;
    case 2: each([](float x) { return gelu_erf(x).value; }); return;
    case 3: each(positive); return;
    default: each([&](float x) { return positive(x) * positive(x); });
  }
}

}  // namespace cuda
}  // namespace heddle
