// The nodes token_logprob, its gradient, and both in one pass.
#include "cpu/nodes/nodes.h"
#include "ops/indices.h"
#include "ops/token_logprob.h"

namespace heddle {
namespace cpu {
namespace {

TokenLogprob describe(const Node& n, const Tensor& h, const Tensor& w, const Tensor& targets) {
  TokenLogprob t{};
  t.kernels = &active();
  t.rows = h.shape[0], t.width = h.shape[1], t.vocab = w.shape[0];
  t.softcap = static_cast<float>(n.attr("softcap")), t.scale = static_cast<float>(n.attr("scale"));
  t.h_type = h.dtype, t.w_type = w.dtype;
  t.h = h.data, t.w = w.data, t.targets = static_cast<const int32_t*>(targets.data);
  return t;
}
TokenLogprob forward(const Node& n) {
  TokenLogprob t = describe(n, n.in[0], n.in[1], n.in[2]);
  t.logprob = static_cast<float*>(n.out[0].data), t.lse = static_cast<float*>(n.out[1].data);
  t.bias = n.has_input(3) ? static_cast<const float*>(n.in[3].data) : nullptr;
  return t;
}
TokenLogprob backward(const Node& n) {
  TokenLogprob t = describe(n, n.in[1], n.in[2], n.in[3]);
  t.d_logprob = static_cast<const float*>(n.in[0].data), t.lse = static_cast<float*>(n.in[4].data);
  t.d_lse = n.has_input(5) ? static_cast<const float*>(n.in[5].data) : nullptr;
  t.dh = n.out[0].data, t.dw = logprob_weight_gradient(n) ? static_cast<float*>(n.out[1].data) : nullptr;
  t.bias = n.has_input(6) ? static_cast<const float*>(n.in[6].data) : nullptr;
  const size_t of_bias = logprob_bias_gradient(n);
  t.dbias = of_bias ? static_cast<float*>(n.out[of_bias].data) : nullptr;
  return t;
}

bool forward_supports(const Node& n) { return is_activation(n.in[0]) && is_weight(n.in[1]); }
size_t forward_scratch(const Node& n, int threads) { return active().token_logprob_scratch(forward(n), threads); }
void forward_run(const Node& n, Context& c) {
  check_indices("token_logprob", "target", n.in[2], n.in[1].shape[0], true);
  active().token_logprob(forward(n), c.pool, c.scratch);
}

bool backward_supports(const Node& n) {
  return is_activation(n.in[1]) && is_weight(n.in[2]) && n.out[0].dtype == n.in[1].dtype;
}
size_t backward_scratch(const Node& n, int threads) {
  return active().token_logprob_backward_scratch(backward(n), threads);
}
void backward_run(const Node& n, Context& c) {
  check_indices("token_logprob_backward", "target", n.in[3], n.in[2].shape[0], true);
  active().token_logprob_backward(backward(n), c.pool, c.scratch);
}

TokenLogprob fused(const Node& n) {
  TokenLogprob t = describe(n, n.in[1], n.in[2], n.in[3]);
  t.d_logprob = static_cast<const float*>(n.in[0].data);
  t.d_lse = n.has_input(4) ? static_cast<const float*>(n.in[4].data) : nullptr;
  t.logprob = static_cast<float*>(n.out[0].data), t.lse = static_cast<float*>(n.out[1].data);
  t.dh = n.out[2].data, t.dw = n.out.size() > 3 ? static_cast<float*>(n.out[3].data) : nullptr;
  return t;
}
bool fused_supports(const Node& n) {
  return is_activation(n.in[1]) && is_weight(n.in[2]) && n.out[2].dtype == n.in[1].dtype;
}
size_t fused_scratch(const Node& n, int threads) { return active().fused_logprob_scratch(fused(n), threads); }
void fused_run(const Node& n, Context& c) {
  check_indices("token_logprob_with_gradient", "target", n.in[3], n.in[2].shape[0], true);
  active().fused_logprob(fused(n), c.pool, c.scratch);
}

}  // namespace

void register_logprob() {
  add_kernel("token_logprob", "chunked_token_logprob", forward_supports, forward_scratch, forward_run);
  add_kernel(
      "token_logprob_backward", "chunked_token_logprob_backward", backward_supports, backward_scratch, backward_run);
  add_kernel("token_logprob_with_gradient", "kept_token_logprob", fused_supports, fused_scratch, fused_run);
}

}  // namespace cpu
}  // namespace heddle
