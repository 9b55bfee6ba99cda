// Sums over whole tensors and over columns. The order of additions depends only on the shapes. For whole tensors, each
// block adds up its elements, then one block adds up the sums of all blocks.
#include "cuda/rows/columns.cuh"
#include "ops/double_terms.h"

namespace heddle {
namespace cuda {
namespace {

constexpr int threads = 256;
constexpr int64_t block_elements = 32 * threads, most_parts = 1024;  // elements per block; maximum blocks

// Returns the number of blocks for a tensor, each of which computes one partial sum.
int64_t parts_of(const Tensor& x) {
  const int64_t wanted = ceil_div(x.shape.size(), block_elements);
  return wanted < 1 ? 1 : wanted < most_parts ? wanted : most_parts;
}

// partial[block] = the sum of the block's elements of x (n), or of their squares. The first `vectors` groups of eight
// elements are loaded as vectors, and the rest one by one.
__global__ void __launch_bounds__(threads)
    partial_sum_kernel(View x, int64_t n, int64_t vectors, bool squared, double* partial) {
  double sum = 0;
  const int64_t first = static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x,
                stride = static_cast<int64_t>(gridDim.x) * threads;
  const auto add = [&](float element) {
    const double v = element;
    sum += squared ? v * v : v;
  };
#pragma unroll 2
  for (int64_t i = first; i < vectors; i += stride) {
    float v[vector_elements];
    load_vector(x, i * vector_elements, v);
    HEDDLE_UNROLL
    for (int e = 0; e < vector_elements; ++e) add(v[e]);
  }
  for (int64_t i = vectors * vector_elements + first; i < n; i += stride) add(x[i]);
  sum = BlockReduction<threads>().sum(sum);
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

constexpr int total_threads = 1024;
// y = the sum of n partial sums, or the square root of that sum. One block.
__global__ void __launch_bounds__(total_threads) total_kernel(const double* partial, int64_t n, bool root, float* y) {
  double sum = 0;
  for (int64_t i = threadIdx.x; i < n; i += total_threads) sum += partial[i];
  sum = BlockReduction<total_threads>().sum(sum);
  if (threadIdx.x == 0) *y = static_cast<float>(root ? sqrt(sum) : sum);
}

void reduce(const Node& n, Context& c, const char* name, bool norm) {
  double* const partial = static_cast<double*>(c.scratch);
  int64_t done = 0;
  for (const Tensor& x : n.in) {
    const int64_t parts = parts_of(x), elements = x.shape.size();
    launch(c, name, {dim3(static_cast<unsigned>(parts)), dim3(threads)}, partial_sum_kernel, view(x), elements,
        has_vectors(view(x)) ? elements / vector_elements : 0, norm, partial + done);
    done += parts;
  }
  launch(c, name, {dim3(1), dim3(total_threads)}, total_kernel, partial, done, norm, n.out[0].as<float>());
}
size_t partial_bytes(const Node& n, int) {
  int64_t parts = 0;
  for (const Tensor& x : n.in) parts += parts_of(x);
  return static_cast<size_t>(parts) * sizeof(double);
}
void sum(const Node& n, Context& c) { reduce(n, c, "sum", false); }
void global_norm(const Node& n, Context& c) { reduce(n, c, "global_norm", true); }

// y (pieces, 3): the sum of squares of each piece of x (n), as a sum of three floats (ops/double_terms.h). One block
// per piece.
__global__ void __launch_bounds__(threads) square_sums_kernel(View x, int64_t n, int64_t piece, float* y) {
  const int64_t begin = static_cast<int64_t>(blockIdx.x) * piece, end = begin + piece < n ? begin + piece : n;
  double sum = 0;
  for (int64_t i = begin + threadIdx.x; i < end; i += threads) {
    const double v = x[i];
    sum += v * v;
  }
  sum = BlockReduction<threads>().sum(sum);
  if (threadIdx.x != 0) return;
  for (int i = 0; i < double_terms; ++i) {
    const float term = static_cast<float>(sum);
    y[static_cast<int64_t>(blockIdx.x) * double_terms + i] = term;
    sum = fabsf(term) < INFINITY ? sum - static_cast<double>(term) : 0;  // 0 after infinity or NaN
  }
}
void square_sums(const Node& n, Context& c) {
  const int64_t pieces = n.out[0].shape[0];
  if (pieces == 0) return;
  launch(c, "square_sums", {dim3(static_cast<unsigned>(pieces)), dim3(threads)}, square_sums_kernel, view(n.in[0]),
      n.in[0].shape.size(), n.attr_int("piece"), n.out[0].as<float>());
}

// dy (N, M) -> y (M)
struct ColumnTerms {
  static constexpr int sums = 1;
  View dy;
  int64_t width;

  template <int wide> __device__ void add(int64_t row, int64_t column, float (&sum)[sums][wide]) const {
    float v[wide];
    columns::load(dy, row * width + column, v);
    HEDDLE_UNROLL
    for (int e = 0; e < wide; ++e) sum[0][e] += v[e];
  }
};
void column_sum(const Node& n, Context& c) {
  const View dy = view(n.in[0]);
  const int64_t N = n.in[0].shape[0], M = n.in[0].shape[1];
  columns::add_columns(c, "column_sum", ColumnTerms{dy, M}, N, M, has_vectors(dy) && M % vector_elements == 0,
      static_cast<float*>(c.scratch), {{n.out[0].as<float>()}});
}
size_t column_bytes(const Node& n, int) {
  return static_cast<size_t>(columns::scratch_floats(1, n.in[0].shape[0], n.in[0].shape[1])) * sizeof(float);
}

const RegisterKernel kernels[] = {
    {"sum", "cuda_sum", no_quantized, sum, partial_bytes},
    {"global_norm", "cuda_global_norm", no_quantized, global_norm, partial_bytes},
    {"square_sums", "cuda_square_sums", no_quantized, square_sums},
    {"column_sum", "cuda_column_sum", no_quantized, column_sum, column_bytes},
};

}  // namespace
}  // namespace cuda
}  // namespace heddle
