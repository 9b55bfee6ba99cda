// Sums of the columns of a matrix. The order of additions depends only on the matrix's shape. Each block sums one part
// of the rows. A second kernel adds the sums of the parts in order.
#pragma once
#include "cuda/rows/math.cuh"

namespace heddle {
namespace cuda {
namespace columns {

constexpr int threads = 256, warps = threads / warp_size;
constexpr int block_columns = warp_size * vector_elements;  // columns per block, if lanes load vectors
constexpr int64_t rows_per_part = 32;                       // at most one part per 32 rows: about four rows per warp
constexpr int64_t target_blocks = 1024;                     // several for each multiprocessor of any device

// Returns the number of parts that the rows are divided into.
inline int64_t parts_of(int64_t rows, int64_t width) {
  const int64_t fitting = ceil_div(rows, rows_per_part), across = ceil_div(width, block_columns),
                most = across < target_blocks ? target_blocks / across : 1;
  return fitting < 1 ? 1 : fitting < most ? fitting : most;
}

// Returns the size of `partial` in floats, for `sums` sums per column.
inline int64_t scratch_floats(int sums, int64_t rows, int64_t width) { return sums * parts_of(rows, width) * width; }

// Computes partial (parts, sums, width). Each lane has `wide` adjacent columns. The warps of a block take its rows in
// turn. terms.add<wide>(row, column, sum) adds the terms of a row to the lane's sums (sums, wide). The grid is
// (blocks of columns, parts).
template <int wide, class Terms>
__global__ void __launch_bounds__(threads)
    part_kernel(Terms terms, int64_t rows, int64_t width, int64_t part_rows, float* partial) {
  constexpr int sums = Terms::sums, warp_sums = sums * wide * warp_size;
  HEDDLE_SHARED(float, of_warp, [warps][warp_sums]);
  const int lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size;
  const int64_t first = static_cast<int64_t>(blockIdx.x) * warp_size * wide, column = first + lane * wide,
                begin = blockIdx.y * part_rows, end = begin + part_rows < rows ? begin + part_rows : rows;
  float sum[sums][wide] = {};
  if (column < width)
    for (int64_t row = begin + warp; row < end; row += warps) terms.template add<wide>(row, column, sum);
  HEDDLE_UNROLL
  for (int s = 0; s < sums; ++s) {
    HEDDLE_UNROLL
    for (int e = 0; e < wide; ++e) of_warp[warp][(s * wide + e) * warp_size + lane] = sum[s][e];
  }
  __syncthreads();
  for (int k = threadIdx.x; k < warp_sums; k += threads) {
    float total = 0;
    for (int w = 0; w < warps; ++w) total += of_warp[w][k];
    const int64_t at = first + k % warp_size * wide + k / warp_size % wide;
    if (at < width) partial[(static_cast<int64_t>(blockIdx.y) * sums + k / warp_size / wide) * width + at] = total;
  }
}

template <int sums> struct Results {
  float* y[sums];  // (width) each; may be null
};
constexpr int adding_warps = 32;
// Adds the parts: partial (parts, sums, width) -> to. A lane has one column. The warps of a block take the parts in
// turn, and their sums are added in order. The grid is (blocks of columns, sums).
template <int sums>
__global__ void __launch_bounds__(adding_warps* warp_size)
    add_parts_kernel(const float* partial, int64_t parts, int64_t width, Results<sums> to) {
  HEDDLE_SHARED(float, of_warp, [adding_warps][warp_size]);
  const int lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size, sum = blockIdx.y;
  const int64_t column = static_cast<int64_t>(blockIdx.x) * warp_size + lane;
  float* y = to.y[0];
  HEDDLE_UNROLL
  for (int s = 1; s < sums; ++s)
    if (sum == s) y = to.y[s];
  if (!y) return;
  float total = 0;
  if (column < width) {
    HEDDLE_UNROLL_BY(8)
    for (int64_t p = warp; p < parts; p += adding_warps) total += partial[(p * sums + sum) * width + column];
  }
  of_warp[warp][lane] = total;
  __syncthreads();
  if (warp != 0 || column >= width) return;
  total = 0;
  HEDDLE_UNROLL
  for (int w = 0; w < adding_warps; ++w) total += of_warp[w][lane];
  y[column] = total;
}
template <int sums>
void add_parts(
    const Context& c, const char* name, const float* partial, int64_t parts, int64_t width, const Results<sums>& to) {
  launch(c, name, {dim3(blocks_for(width, warp_size), sums), dim3(adding_warps * warp_size)}, add_parts_kernel<sums>,
      partial, parts, width, to);
}

// Launches both kernels. partial: scratch_floats() floats. vectors: whether terms.add can load eight elements at a
// time.
template <class Terms>
void add_columns(const Context& c, const char* name, const Terms& terms, int64_t rows, int64_t width, bool vectors,
    float* partial, const Results<Terms::sums>& to) {
  if (width == 0) return;
  const int64_t parts = parts_of(rows, width), part_rows = ceil_div(rows, parts);
  const Grid grid{
      dim3(blocks_for(width, vectors ? block_columns : warp_size), static_cast<unsigned>(parts)), dim3(threads)};
  launch(c, name, grid, vectors ? part_kernel<vector_elements, Terms> : part_kernel<1, Terms>, terms, rows, width,
      part_rows, partial);
  add_parts(c, name, partial, parts, width, to);
}

// Loads `wide` adjacent elements. wide is 8 or 1.
template <int wide> __device__ inline void load(const View& x, int64_t at, float (&to)[wide]) {
  if constexpr (wide == 1) to[0] = x[at];
  else load_vector(x, at, to);
}
// Stores `wide` adjacent elements. wide is 8 or 1.
template <int wide> __device__ inline void store(const Out& y, int64_t at, const float (&from)[wide]) {
  if constexpr (wide == 1) y.store(at, from[0]);
  else store_elements(y, at, from);
}

}  // namespace columns
}  // namespace cuda
}  // namespace heddle
