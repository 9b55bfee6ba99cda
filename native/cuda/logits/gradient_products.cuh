// The products of a strip of logit gradients with the weight and with the hidden rows.
#pragma once
#include "cuda/gemm/gemm.cuh"
#include "ops/token_logprob.h"

namespace heddle {
namespace cuda {
namespace logits {

// Returns the rows of w from `row` on.
inline View from_row(const Tensor& w, int64_t row) {
  return {w.as<char>() + bytes_of_elements(w.dtype, row * w.shape[1]), w.dtype};
}

// The products of a token_logprob_backward, which sum the gradient of the hidden rows in f32.
class GradientProducts {
 public:
  // `sums` has room for N * C floats, which are used if dh is not f32. `workspace` may be null. Otherwise it is for the
  // parts of the weight's gradient: gradient_workspace(width, C, N) bytes.
  GradientProducts(const Node& node, float* sums, void* workspace = nullptr)
      : n(node), sum(node.out[0].dtype == DType::f32 ? node.out[0].as<float>() : sums), parts(workspace) {}

  // Adds the products of the strip of vocabulary entries [begin, begin + width). Strips come in order. `gradient` is
  // (N, ld), d loss / d product of the strip.
  void add(const Context& c, const char* name, const View& gradient, int64_t ld, int64_t begin, int64_t width) const;
  // Stores the gradient of the hidden rows after the last strip.
  void finish(const Context& c, const char* name) const;

 private:
  const Node& n;
  float* sum;
  void* parts;
};

}  // namespace logits
}  // namespace cuda
}  // namespace heddle
