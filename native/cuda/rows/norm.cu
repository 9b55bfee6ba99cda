// RMS norm and layer norm with an optional residual addition before them, and their gradients. One block per row. The
// gradients of the weights are sums over rows. A second kernel computes them column by column, in a fixed order.
#include "cuda/rows/math.cuh"

namespace heddle {
namespace cuda {
namespace {

constexpr int threads = 256;
constexpr int column_threads = 8;  // threads that share the rows of a column

struct NormArguments {
  View x, w, b, residual;  // x (R, C), w (C); optional: b (C), residual (R, C)
  Out y, h;                // (R, C); h only with a residual
  int64_t C;
  float eps, offset;  // y = normed * (offset + w) + b
  bool centred;       // layer norm: the mean is subtracted
};

// A thread reads and writes only its own columns, so that y may alias x or the residual.
__global__ void __launch_bounds__(threads) norm_kernel(NormArguments a) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * a.C;
  if (a.residual.data)
    for (int64_t j = threadIdx.x; j < a.C; j += threads) a.h.store(row + j, a.x[row + j] + a.residual[row + j]);
  // Normalizes h as stored, which is what the rest of the network sees. Each element is written and read by the same
  // thread.
  const View h = a.residual.data ? View{a.h.data, a.h.type} : a.x;
  float mean = 0;
  if (a.centred) {
    for (int64_t j = threadIdx.x; j < a.C; j += threads) mean += h[row + j];
    mean = block_sum<threads>(mean) / static_cast<float>(a.C);
  }
  float square = 0;
  for (int64_t j = threadIdx.x; j < a.C; j += threads) {
    const float v = h[row + j] - mean;
    square += v * v;
  }
  const float scale = 1.0f / sqrtf(block_sum<threads>(square) / static_cast<float>(a.C) + a.eps);
  for (int64_t j = threadIdx.x; j < a.C; j += threads) {
    const float bias = a.b.data ? a.b[j] : 0.0f;
    a.y.store(row + j, (h[row + j] - mean) * scale * (a.offset + a.w[j]) + bias);
  }
}

void norm(const Node& n, Context& c, const char* name, bool centred) {
  const Tensor& x = n.in[0];
  const size_t residual = centred ? 3 : 2;
  NormArguments a{view(x), view(n.in[1]), centred ? optional_view(n, 2) : View{nullptr, DType::f32},
      optional_view(n, residual), out(n.out[0]), n.has_input(residual) ? out(n.out[1]) : Out{nullptr, DType::f32},
      x.shape.last(), static_cast<float>(n.attr("eps")), centred ? 0.0f : static_cast<float>(n.attr("offset")),
      centred};
  launch(c, name, {dim3(static_cast<unsigned>(x.shape.rows())), dim3(threads)}, norm_kernel, a);
}
void rms_norm(const Node& n, Context& c) { norm(n, c, "rms_norm", false); }
void layer_norm(const Node& n, Context& c) { norm(n, c, "layer_norm", true); }

struct NormBackwardArguments {
  View dy, h, w, dh;  // (R, C), (R, C), (C), (R, C); dh is optional
  Out dx;             // (R, C)
  float* moments;     // (R, 2): mean and 1 / standard deviation of each row, for the second kernel
  float *dw, *db;     // (C); db only for layer norm
  int64_t R, C;
  float eps, offset;
  bool centred;
};

__global__ void __launch_bounds__(threads) norm_backward_kernel(NormBackwardArguments a) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * a.C;
  const float width = static_cast<float>(a.C);
  float mean = 0;
  if (a.centred) {
    for (int64_t j = threadIdx.x; j < a.C; j += threads) mean += a.h[row + j];
    mean = block_sum<threads>(mean) / width;
  }
  float square = 0;
  for (int64_t j = threadIdx.x; j < a.C; j += threads) {
    const float v = a.h[row + j] - mean;
    square += v * v;
  }
  const float scale = 1.0f / sqrtf(block_sum<threads>(square) / width + a.eps);
  // With g = dy * w and n = (h - mean) * scale: dx = dh + scale * (g - mean(g) - n * mean(g n)). RMS norm omits
  // mean(g).
  float sum = 0, projection = 0;
  for (int64_t j = threadIdx.x; j < a.C; j += threads) {
    const float g = a.dy[row + j] * (a.offset + a.w[j]);
    sum += g;
    projection += g * (a.h[row + j] - mean) * scale;
  }
  sum = a.centred ? block_sum<threads>(sum) / width : 0.0f;
  projection = block_sum<threads>(projection) / width;
  for (int64_t j = threadIdx.x; j < a.C; j += threads) {
    const float g = a.dy[row + j] * (a.offset + a.w[j]), normed = (a.h[row + j] - mean) * scale;
    const float residual = a.dh.data ? a.dh[row + j] : 0.0f;
    a.dx.store(row + j, residual + scale * (g - sum - normed * projection));
  }
  if (threadIdx.x == 0) {
    a.moments[blockIdx.x * 2] = mean;
    a.moments[blockIdx.x * 2 + 1] = scale;
  }
}

// One block per 32 columns. Thread (lane, part) adds every eighth row of a column.
__global__ void __launch_bounds__(warp_size* column_threads) norm_weight_kernel(NormBackwardArguments a) {
  HEDDLE_SHARED(float, weight_sum, [column_threads][warp_size]);
  HEDDLE_SHARED(float, bias_sum, [column_threads][warp_size]);
  const int lane = threadIdx.x % warp_size, part = threadIdx.x / warp_size;
  const int64_t j = static_cast<int64_t>(blockIdx.x) * warp_size + lane;
  float dw = 0, db = 0;
  if (j < a.C)
    for (int64_t r = part; r < a.R; r += column_threads) {
      const float g = a.dy[r * a.C + j];
      dw += g * (a.h[r * a.C + j] - a.moments[r * 2]) * a.moments[r * 2 + 1];
      db += g;
    }
  weight_sum[part][lane] = dw;
  bias_sum[part][lane] = db;
  __syncthreads();
  if (part != 0 || j >= a.C) return;
  for (int p = 1; p < column_threads; ++p) dw += weight_sum[p][lane], db += bias_sum[p][lane];
  a.dw[j] = dw;
  if (a.db) a.db[j] = db;
}

size_t moments_bytes(const Node& n, int) { return static_cast<size_t>(n.in[0].shape.rows()) * 2 * sizeof(float); }

void norm_backward(const Node& n, Context& c, const char* name, bool centred) {
  const Tensor& dy = n.in[0];
  NormBackwardArguments a{view(dy), view(n.in[1]), view(n.in[2]), optional_view(n, 3), out(n.out[0]),
      static_cast<float*>(c.scratch), n.out[1].as<float>(), centred ? n.out[2].as<float>() : nullptr, dy.shape.rows(),
      dy.shape.last(), static_cast<float>(n.attr("eps")), centred ? 0.0f : static_cast<float>(n.attr("offset")),
      centred};
  launch(c, name, {dim3(static_cast<unsigned>(a.R)), dim3(threads)}, norm_backward_kernel, a);
  launch(c, name, {dim3(blocks_for(a.C, warp_size)), dim3(warp_size * column_threads)}, norm_weight_kernel, a);
}
void rms_norm_backward(const Node& n, Context& c) { norm_backward(n, c, "rms_norm_backward", false); }
void layer_norm_backward(const Node& n, Context& c) { norm_backward(n, c, "layer_norm_backward", true); }

// ---- softmax over the last dimension

// x, y (R, C); y may alias x. One block per row.
__global__ void __launch_bounds__(threads) softmax_kernel(View x, Out y, int64_t C) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * C;
  float largest = -INFINITY, sum = 0;
  for (int64_t j = threadIdx.x; j < C; j += threads) largest = fmaxf(largest, x[row + j]);
  largest = block_max<threads>(largest);
  for (int64_t j = threadIdx.x; j < C; j += threads) sum += expf(x[row + j] - largest);
  sum = block_sum<threads>(sum);
  for (int64_t j = threadIdx.x; j < C; j += threads) y.store(row + j, expf(x[row + j] - largest) / sum);
}
void softmax(const Node& n, Context& c) {
  const Shape& s = n.in[0].shape;
  launch(c, "softmax", {dim3(static_cast<unsigned>(s.rows())), dim3(threads)}, softmax_kernel, view(n.in[0]),
      out(n.out[0]), s.last());
}

// dy, y, dx (R, C): dx = y * (dy - sum(dy y)). One block per row.
__global__ void __launch_bounds__(threads) softmax_backward_kernel(View dy, View y, Out dx, int64_t C) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * C;
  float mean = 0;
  for (int64_t j = threadIdx.x; j < C; j += threads) mean += dy[row + j] * y[row + j];
  mean = block_sum<threads>(mean);
  for (int64_t j = threadIdx.x; j < C; j += threads) dx.store(row + j, y[row + j] * (dy[row + j] - mean));
}
void softmax_backward(const Node& n, Context& c) {
  const Shape& s = n.in[0].shape;
  launch(c, "softmax_backward", {dim3(static_cast<unsigned>(s.rows())), dim3(threads)}, softmax_backward_kernel,
      view(n.in[0]), view(n.in[1]), out(n.out[0]), s.last());
}

const RegisterKernel kernels[] = {
    {"rms_norm", "cuda_rms_norm", no_quantised, rms_norm},
    {"layer_norm", "cuda_layer_norm", no_quantised, layer_norm},
    {"rms_norm_backward", "cuda_rms_norm_backward", no_quantised, rms_norm_backward, moments_bytes},
    {"layer_norm_backward", "cuda_layer_norm_backward", no_quantised, layer_norm_backward, moments_bytes},
    {"softmax", "cuda_softmax", no_quantised, softmax},
    {"softmax_backward", "cuda_softmax_backward", no_quantised, softmax_backward},
};

}  // namespace
}  // namespace cuda
}  // namespace heddle
