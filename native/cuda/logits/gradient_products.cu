// The products of a strip of logit gradients, see gradient_products.cuh.
#include "cuda/logits/gradient_products.cuh"

namespace heddle {
namespace cuda {
namespace logits {
namespace {

constexpr int threads = 256;

__global__ void __launch_bounds__(threads) copy_kernel(const float* from, Out to, int64_t n) {
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x; i < n;
      i += static_cast<int64_t>(gridDim.x) * threads)
    to.store(i, from[i]);
}

// Returns the number of blocks of a grid-stride loop over `items` items.
unsigned some_blocks(int64_t items) { return blocks_for(items < (1 << 22) ? items : 1 << 22, threads); }

}  // namespace

void GradientProducts::add(
    const Context& c, const char* name, const View& gradient, int64_t ld, int64_t begin, int64_t width) const {
  const Tensor &h = n.in[1], &w = n.in[2];
  const int64_t N = h.shape[0], C = h.shape[1];
  const View none{nullptr, DType::f32};
  gemm(
      c, name, {gradient, from_row(w, begin), none, {sum, DType::f32}, N, C, width, ld, C, C, false, false, begin > 0});
  if (logprob_weight_gradient(n))
    gemm(c, name,
        {gradient, view(h), none, {n.out[1].as<float>() + begin * C, DType::f32}, width, C, N, ld, C, C, true, false,
            false, false, parts, parts ? gradient_workspace(width, C, N) : 0});
}

void GradientProducts::finish(const Context& c, const char* name) const {
  const Tensor& dh = n.out[0];
  const int64_t elements = dh.shape[0] * dh.shape[1];
  if (sum != dh.data)
    launch(c, name, {dim3(some_blocks(elements)), dim3(threads)}, copy_kernel, sum, out(dh), elements);
}

}  // namespace logits
}  // namespace cuda
}  // namespace heddle
