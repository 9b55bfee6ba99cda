// Sums over whole tensors and over columns, in an order that depends only on the shapes: each block adds up its
// elements, then one block adds up the blocks' sums.
#include "cuda/rows/math.cuh"

namespace heddle {
namespace cuda {
namespace {

constexpr int threads = 256;
constexpr unsigned parts = 64;  // blocks per tensor

// partial[block] = the sum of the block's elements of x, or of their squares.
__global__ void __launch_bounds__(threads) partial_sum_kernel(View x, int64_t n, bool squared, double* partial) {
  double sum = 0;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x; i < n;
      i += static_cast<int64_t>(gridDim.x) * threads) {
    const double v = x[i];
    sum += squared ? v * v : v;
  }
  sum = block_sum<threads>(sum);
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

// y = the sum of n partial sums, or its square root.
__global__ void __launch_bounds__(threads) total_kernel(const double* partial, int64_t n, bool root, float* y) {
  double sum = 0;
  for (int64_t i = threadIdx.x; i < n; i += threads) sum += partial[i];
  sum = block_sum<threads>(sum);
  if (threadIdx.x == 0) *y = static_cast<float>(root ? sqrt(sum) : sum);
}

void reduce(const Node& n, Context& c, const char* name, bool norm) {
  double* partial = static_cast<double*>(c.scratch);
  for (size_t i = 0; i < n.in.size(); ++i)
    launch(c, name, {dim3(parts), dim3(threads)}, partial_sum_kernel, view(n.in[i]), n.in[i].shape.size(), norm,
        partial + i * parts);
  launch(c, name, {dim3(1), dim3(threads)}, total_kernel, partial, static_cast<int64_t>(n.in.size() * parts), norm,
      n.out[0].as<float>());
}
size_t partial_bytes(const Node& n, int) { return n.in.size() * parts * sizeof(double); }
void sum(const Node& n, Context& c) { reduce(n, c, "sum", false); }
void global_norm(const Node& n, Context& c) { reduce(n, c, "global_norm", true); }

constexpr int column_threads = 8;  // threads that share the rows of a column

// dy (N, M) -> y (M). One block per 32 columns.
__global__ void __launch_bounds__(warp_size* column_threads)
    column_sum_kernel(View dy, float* y, int64_t N, int64_t M) {
  HEDDLE_SHARED(float, part_sum, [column_threads][warp_size]);
  const int lane = threadIdx.x % warp_size, part = threadIdx.x / warp_size;
  const int64_t m = static_cast<int64_t>(blockIdx.x) * warp_size + lane;
  float sum = 0;
  if (m < M)
    for (int64_t i = part; i < N; i += column_threads) sum += dy[i * M + m];
  part_sum[part][lane] = sum;
  __syncthreads();
  if (part != 0 || m >= M) return;
  for (int p = 1; p < column_threads; ++p) sum += part_sum[p][lane];
  y[m] = sum;
}
void column_sum(const Node& n, Context& c) {
  const int64_t N = n.in[0].shape[0], M = n.in[0].shape[1];
  launch(c, "column_sum", {dim3(blocks_for(M, warp_size)), dim3(warp_size * column_threads)}, column_sum_kernel,
      view(n.in[0]), n.out[0].as<float>(), N, M);
}

const RegisterKernel kernels[] = {
    {"sum", "cuda_sum", no_quantised, sum, partial_bytes},
    {"global_norm", "cuda_global_norm", no_quantised, global_norm, partial_bytes},
    {"column_sum", "cuda_column_sum", no_quantised, column_sum},
};

}  // namespace
}  // namespace cuda
}  // namespace heddle
