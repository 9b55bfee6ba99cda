// rms_norm, layer_norm and their gradients.
#include "cpu/nodes/nodes.h"

namespace heddle {
namespace cpu {
namespace {

// Inputs of rms_norm: x, w, residual. Inputs of layer_norm: x, w, b, residual.
template <bool LAYER> Norm forward(const Node& n) {
  constexpr size_t residual = LAYER ? 3 : 2;
  const Tensor &x = n.in[0], &w = n.in[1];
  Norm a{};
  a.rows = x.shape.rows(), a.width = x.shape.last();
  a.eps = static_cast<float>(n.attr("eps")), a.offset = LAYER ? 0 : static_cast<float>(n.attr("offset"));
  a.type = x.dtype, a.w_type = w.dtype, a.y_type = n.out[0].dtype;
  a.x = x.data, a.w = w.data, a.y = n.out[0].data;
  if (LAYER && n.has_input(2)) a.b = n.in[2].data, a.b_type = n.in[2].dtype;
  if (n.has_input(residual)) a.residual = n.in[residual].data, a.h = n.out[1].data;
  return a;
}
bool forward_supports(const Node& n) {
  for (size_t i = 0; i < n.in.size(); ++i)
    if (n.has_input(i) && !is_float(n.in[i])) return false;
  return is_activation(n.in[0]) && same_or_bf16(n.in[0], n.out[0]);
}
template <bool LAYER> void forward_run(const Node& n, Context& c) {
  LAYER ? active().layer_norm(forward<LAYER>(n), c.pool) : active().rms_norm(forward<LAYER>(n), c.pool);
}

template <bool LAYER> NormBackward backward(const Node& n) {
  const Tensor &dy = n.in[0], &w = n.in[2];
  NormBackward a{};
  a.rows = dy.shape.rows(), a.width = dy.shape.last();
  a.eps = static_cast<float>(n.attr("eps")), a.offset = LAYER ? 0 : static_cast<float>(n.attr("offset"));
  a.type = dy.dtype, a.w_type = w.dtype;
  a.dy = dy.data, a.h = n.in[1].data, a.w = w.data, a.dh = n.has_input(3) ? n.in[3].data : nullptr;
  a.dx = n.out[0].data, a.dw = static_cast<float*>(n.out[1].data);
  if (LAYER) a.db = static_cast<float*>(n.out[2].data);
  return a;
}
bool backward_supports(const Node& n) {
  return is_activation(n.in[0]) && n.in[1].dtype == n.in[0].dtype && n.out[0].dtype == n.in[0].dtype &&
         (!n.has_input(3) || n.in[3].dtype == n.in[0].dtype) && is_float(n.in[2]);
}
template <bool LAYER> size_t backward_scratch(const Node& n, int threads) {
  return active().norm_backward_scratch(backward<LAYER>(n), threads);
}
template <bool LAYER> void backward_run(const Node& n, Context& c) {
  NormBackward a = backward<LAYER>(n);
  LAYER ? active().layer_norm_backward(a, c.pool, c.scratch) : active().rms_norm_backward(a, c.pool, c.scratch);
}

}  // namespace

void register_norms() {
  add_kernel("rms_norm", "rms_norm", forward_supports, nullptr, forward_run<false>);
  add_kernel("layer_norm", "layer_norm", forward_supports, nullptr, forward_run<true>);
  add_kernel("rms_norm_backward", "rms_norm_backward", backward_supports, backward_scratch<false>, backward_run<false>);
  add_kernel(
      "layer_norm_backward", "layer_norm_backward", backward_supports, backward_scratch<true>, backward_run<true>);
}

}  // namespace cpu
}  // namespace heddle
