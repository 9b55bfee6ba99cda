// The epilogue of a product: applies bias, activation and residual to the f32 sums, converts them, and stores them.
// After CUTLASS's epilogues (Thakkar et al.). Accumulators of tensor cores are staged through shared memory, 16 rows by
// 32 columns per warp. Global accesses are then contiguous, and the activation code is instantiated once, not once per
// register.
#pragma once
#include "cuda/gemm/gemm.cuh"

namespace heddle {
namespace cuda {

// Whether a run of `width` elements of `bytes` bytes can be accessed at once. Runs of one element are not vectors.
template <int width> __device__ inline bool is_vector(const void* run, int bytes, int count) {
  return width == 4 && count == width && reinterpret_cast<uintptr_t>(run) % static_cast<unsigned>(width * bytes) == 0;
}

// Stores four adjacent elements, whose address must be a multiple of their size.
template <DType type> __device__ inline void store_four(void* to, const float (&v)[4]) {
  if constexpr (type == DType::f32) {
    const uint32_t words[4] = {
        __float_as_uint(v[0]), __float_as_uint(v[1]), __float_as_uint(v[2]), __float_as_uint(v[3])};
    ptx::store_words(to, words);
  } else {
    const uint32_t words[2] = {ptx::pack_bf16(v[0], v[1]), ptx::pack_bf16(v[2], v[3])};
    ptx::store_words(to, words);
  }
}

// Stores the first `count` values of v from index `at` on. Uses one vector store if count and alignment allow it.
template <int width> __device__ inline void store_run(const Out& out, int64_t at, const float (&v)[width], int count) {
  if constexpr (width == 4) {
    if (out.type == DType::f32) {
      float* to = static_cast<float*>(out.data) + at;
      if (is_vector<width>(to, 4, count)) return store_four<DType::f32>(to, v);
    } else if (out.type == DType::bf16) {
      uint16_t* to = static_cast<uint16_t*>(out.data) + at;
      if (is_vector<width>(to, 2, count)) return store_four<DType::bf16>(to, v);
    }
  }
  HEDDLE_UNROLL
  for (int i = 0; i < width; ++i)
    if (i < count) out.store(at + i, v[i]);
}

// Adds the first `count` elements of x from index `at` on to v. Uses one vector load if count and alignment allow it.
template <int width> __device__ inline void add_run(const View& x, int64_t at, float (&v)[width], int count) {
  if constexpr (width == 4) {
    if (x.type == DType::f32) {
      const float* from = static_cast<const float*>(x.data) + at;
      if (is_vector<width>(from, 4, count)) {
        const float4 four = *reinterpret_cast<const float4*>(from);
        v[0] += four.x, v[1] += four.y, v[2] += four.z, v[3] += four.w;
        return;
      }
    } else if (x.type == DType::bf16) {
      const uint16_t* from = static_cast<const uint16_t*>(x.data) + at;
      if (is_vector<width>(from, 2, count)) {
        const uint2 two = *reinterpret_cast<const uint2*>(from);
        v[0] += bf16_to_float(static_cast<uint16_t>(two.x)), v[1] += bf16_to_float(static_cast<uint16_t>(two.x >> 16));
        v[2] += bf16_to_float(static_cast<uint16_t>(two.y)), v[3] += bf16_to_float(static_cast<uint16_t>(two.y >> 16));
        return;
      }
    }
  }
  HEDDLE_UNROLL
  for (int i = 0; i < width; ++i)
    if (i < count) v[i] += x[at + i];
}

// Applies the epilogue to `count` adjacent elements of a row, from `column` on. v holds the sums of a b. In a gated
// product, `up` holds the sums of the second factor, a up. Branches are evaluated once per run, not once per element.
template <bool gated, int width>
__device__ inline void epilogue_run(
    const Gemm& g, int64_t row, int64_t column, int count, float (&v)[width], float (&up)[width]) {
  const int64_t at = row * g.ldc + column;
  const Epilogue& e = g.epilogue;
  if (g.bias.data) add_run(g.bias, column, v, count);
  if (gated && e.up_bias.data) add_run(e.up_bias, column, up, count);
  if (e.pre_activation.data) store_run(e.pre_activation, at, v, count);
  if (gated && e.up_output.data) store_run(e.up_output, at, up, count);
  if (gated && !g.c.data) return;
  if (e.activation >= 0) activate_run(e.activation, v);
  if (gated) {
    HEDDLE_UNROLL
    for (int i = 0; i < width; ++i) v[i] *= up[i];
  }
  if (e.residual.data) add_run(e.residual, at, v, count);
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
// puts these rows into different banks.
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

// Whether the epilogue only rounds the sums and stores them, four adjacent ones at a time. It is uniform over the
// block.
template <bool gated> __host__ __device__ inline bool only_stores(const Gemm& g) {
  const Epilogue& e = g.epilogue;
  const unsigned four = g.c.type == DType::f32 ? 16 : 8;  // bytes
  return !gated && !g.bias.data && !e.pre_activation.data && !e.residual.data && e.activation < 0 &&
         (g.c.type == DType::f32 || g.c.type == DType::bf16) && g.n % 4 == 0 && g.ldc % 4 == 0 &&
         reinterpret_cast<uintptr_t>(g.c.data) % four == 0;
}
// Stores the sums that the warp has staged, for only_stores.
template <DType type>
__device__ inline void store_fragments(const Gemm& g, const float* own, int64_t row0, int64_t column0) {
  constexpr int width = 4, lanes = staged_columns / width, rows = warp_size / lanes;
  const int lane = threadIdx.x % warp_size;
  const int64_t row = row0 + lane / lanes, column = column0 + lane % lanes * width, bytes = type == DType::f32 ? 4 : 2;
  const float* from = own + lane / lanes * staged_pitch + lane % lanes * width;
  char* to = static_cast<char*>(g.c.data) + (row * g.ldc + column) * bytes;
  if (column >= g.n) return;
  const int left = static_cast<int>(g.m - row < staged_rows ? g.m - row : staged_rows);
  HEDDLE_UNROLL
  for (int r = 0; r < staged_rows; r += rows) {
    if (r >= left) break;
    const float4 four = *reinterpret_cast<const float4*>(from + r * staged_pitch);
    const float v[width] = {four.x, four.y, four.z, four.w};
    store_four<type>(to + r * g.ldc * bytes, v);
  }
}

// Applies the epilogue to the sums that the warp has staged: rows [row0, row0 + 16), and 32 columns from column0 on. In
// a gated product, these are 16 columns of a b, then the same 16 columns of a up. All lanes must call it after every
// four calls of stage_fragment. plain: only_stores(g).
template <bool gated>
__device__ inline void epilogue_fragments(const Gemm& g, bool plain, const float* own, int64_t row0, int64_t column0) {
  constexpr int columns = gated ? staged_columns / 2 : staged_columns, width = 4,
                lanes = columns / width;  // lanes of a row
  const int lane = threadIdx.x % warp_size;
  const int64_t column = column0 + lane % lanes * width;
  __syncwarp();  // the fragments of all lanes are staged
  if (plain && !gated) {
    if (g.c.type == DType::f32) store_fragments<DType::f32>(g, own, row0, column0);
    else store_fragments<DType::bf16>(g, own, row0, column0);
    __syncwarp();
    return;
  }
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
