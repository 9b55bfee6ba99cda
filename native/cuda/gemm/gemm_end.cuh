// The epilogue of a product: applies bias, activation and residual to the f32 sums, converts them, and stores them.
// After CUTLASS's epilogues (Thakkar et al.). Accumulators of tensor cores are staged through shared memory, 16 rows by
// 32 columns per warp. Global accesses are then contiguous, and the activation code is instantiated once, not once per
// register.
#pragma once
#include "cuda/gemm/gemm.cuh"

namespace heddle {
namespace cuda {

// Stores the first `count` values of v from index `at` on. Uses one vector store if count and alignment allow it.
template <int width> __device__ inline void store_run(const Out& out, int64_t at, const float (&v)[width], int count) {
  if constexpr (width == 4) {
    if (out.type == DType::f32) {
      float* to = static_cast<float*>(out.data) + at;
      if (count == width && reinterpret_cast<uintptr_t>(to) % 16 == 0) {
        *reinterpret_cast<float4*>(to) = float4{v[0], v[1], v[2], v[3]};
        return;
      }
    } else if (out.type == DType::bf16) {
      uint16_t* to = static_cast<uint16_t*>(out.data) + at;
      if (count == width && reinterpret_cast<uintptr_t>(to) % 8 == 0) {
        *reinterpret_cast<uint2*>(to) = uint2{ptx::pack_bf16(v[0], v[1]), ptx::pack_bf16(v[2], v[3])};
        return;
      }
    }
  }
  HEDDLE_UNROLL
  for (int i = 0; i < width; ++i)
    if (i < count) out.store(at + i, v[i]);
}

// Applies the epilogue to `count` adjacent elements of a row, from `column` on. v holds the sums of a b. In a gated
// product, `up` holds the sums of the second factor, a up.
template <bool gated, int width>
__device__ inline void epilogue_run(
    const Gemm& g, int64_t row, int64_t column, int count, float (&v)[width], float (&up)[width]) {
  const int64_t at = row * g.ldc + column;
  const Epilogue& e = g.epilogue;
  HEDDLE_UNROLL
  for (int i = 0; i < width; ++i) {
    if (g.bias.data && i < count) v[i] += g.bias[column + i];
    if (gated && e.up_bias.data && i < count) up[i] += e.up_bias[column + i];
  }
  if (e.pre_activation.data) store_run(e.pre_activation, at, v, count);
  if (gated && e.up_output.data) store_run(e.up_output, at, up, count);
  if (gated && !g.c.data) return;
  HEDDLE_UNROLL
  for (int i = 0; i < width; ++i) {
    if (e.activation >= 0) v[i] = activated(e.activation, v[i]);
    if (gated) v[i] *= up[i];
    if (e.residual.data && i < count) v[i] += e.residual[at + i];
  }
  store_run(g.c, at, v, count);
}
// The same for one element.
template <bool gated>
__device__ inline void epilogue_element(const Gemm& g, int64_t row, int64_t column, float v, float up = 0) {
  float one[1] = {v}, other[1] = {up};
  epilogue_run<gated>(g, row, column, 1, one, other);
}

// ---- tensor cores

// The staging area of a warp's sums. A half warp writes float2 to four rows at a time. The padding of 8 floats per row
// puts them into different banks.
constexpr int staged_rows = 16, staged_columns = 32, staged_pitch = staged_columns + 8;
constexpr int staged_floats = staged_rows * staged_pitch;  // per warp

// Stages the j-th of four adjacent fragments (16 rows, 8 columns). c0 to c3 are a lane's accumulators, in the layout
// that mma.sync and wgmma share.
__device__ inline void stage_fragment(float* own, int j, float c0, float c1, float c2, float c3) {
  const int lane = threadIdx.x % warp_size;
  float* to = own + lane / 4 * staged_pitch + j * 8 + lane % 4 * 2;
  *reinterpret_cast<float2*>(to) = float2{c0, c1};
  *reinterpret_cast<float2*>(to + 8 * staged_pitch) = float2{c2, c3};
}

// Applies the epilogue to the sums that the warp has staged: rows [row0, row0 + 16), and 32 columns from column0 on. In
// a gated product, these are 16 columns of a b, then the same 16 columns of a up. All lanes must call it after every
// four calls of stage_fragment.
template <bool gated>
__device__ inline void epilogue_fragments(const Gemm& g, const float* own, int64_t row0, int64_t column0) {
  constexpr int columns = gated ? staged_columns / 2 : staged_columns, width = 4,
                lanes = columns / width;  // lanes of a row
  const int lane = threadIdx.x % warp_size;
  const int64_t column = column0 + lane % lanes * width;
  __syncwarp();  // the fragments of all lanes are staged
  HEDDLE_ROLLED
  for (int r = lane / lanes; r < staged_rows; r += warp_size / lanes) {
    const float4 four = *reinterpret_cast<const float4*>(own + r * staged_pitch + lane % lanes * width);
    float v[width] = {four.x, four.y, four.z, four.w}, up[width] = {};
    if (gated) {
      const float4 other = *reinterpret_cast<const float4*>(own + r * staged_pitch + columns + lane % lanes * width);
      up[0] = other.x, up[1] = other.y, up[2] = other.z, up[3] = other.w;
    }
    const int64_t left = g.n - column;
    if (row0 + r < g.m && left > 0)
      epilogue_run<gated>(g, row0 + r, column, left < width ? static_cast<int>(left) : width, v, up);
  }
  __syncwarp();  // all lanes have read the sums, so the next ones can be staged
}

}  // namespace cuda
}  // namespace heddle
