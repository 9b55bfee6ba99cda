// The products of a strip of logit gradients, see gradient_products.cuh.
#include "cuda/logits/gradient_products.cuh"

#include "cuda/rows/elementwise.cuh"

namespace heddle {
namespace cuda {
namespace logits {
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
  if (sum != dh.data) elementwise::copy_elements(c, name, {sum, DType::f32}, out(dh), dh.shape.size());
}

}  // namespace logits
}  // namespace cuda
}  // namespace heddle
