// linear with a quantized weight, and its input's gradient.
#include <vector>

#include "cpu/nodes/nodes.h"

namespace heddle {
namespace cpu {
namespace {

// y (N, M) = x (N, K) w^T + bias
QuantLinear linear(const Node& n) {
  QuantLinear p{};
  const Tensor &x = n.in[0], &w = n.in[1], &y = n.out[0];
  p.m = x.shape[0], p.n = w.shape[0], p.k = w.shape[1];
  p.x = x.data, p.x_type = x.dtype, p.w = w.data, p.w_type = w.dtype, p.y = y.data, p.y_type = y.dtype;
  if (n.has_input(2)) p.bias = n.in[2].data, p.bias_type = n.in[2].dtype;
  p.packed = n.packed, p.unpacked = n.unpacked, p.int8 = n.attr_flag("int8"), p.rowwise = n.attr_flag("rowwise");
  return p;
}
bool linear_supports(const Node& n) {
  return is_quantized(n.in[1].dtype) && !n.attr_flag("transposed") && is_activation(n.in[0]) &&
         is_activation(n.out[0]) && (!n.has_input(2) || is_float(n.in[2]));
}
size_t linear_scratch(const Node& n, int threads) { return active().quant_linear_scratch(linear(n), threads); }
void linear_run(const Node& n, Context& c) { active().quant_linear(linear(n), c.pool, c.scratch); }
void linear_group(const Node* const* nodes, size_t count, Context& c) {
  std::vector<QuantLinear> products;
  for (size_t i = 0; i < count; ++i) products.push_back(linear(*nodes[i]));
  active().quant_linears(products.data(), static_cast<int>(count), c.pool, c.scratch);
}
Packing linear_packing(const Node& n) {
  const Tensor& w = n.in[1];
  if (!n.attr_flag("int8")) return {};
  const size_t bytes = active().quant_packed_bytes(w.dtype, w.shape[0], w.shape[1]),
               panel = active().quant_packed_bytes(w.dtype, 1, w.shape[1]);
  if (!bytes) return {};
  Packing p{"products of bytes", 1, bytes, static_cast<int64_t>(bytes / panel)};
  // Packed kernels of AVX-512 take at most six rows of a larger x at once (packed_columns).
  p.row_tile = 6, p.row_block = active().row_block, p.min_rows = active().quant_min_rows;
  return p;
}
void linear_pack(const Node& n, void* to, int64_t begin, int64_t end, Pool& pool) {
  active().quant_pack(linear(n), to, begin, end, pool);
}

// dx (N, K) = dy (N, M) w
QuantLinear backward(const Node& n) {
  QuantLinear p{};
  const Tensor &dy = n.in[0], &w = n.in[1], &dx = n.out[0];
  p.m = dy.shape[0], p.n = w.shape[0], p.k = w.shape[1];
  p.y = dy.data, p.y_type = dy.dtype, p.w = w.data, p.w_type = w.dtype, p.dx = dx.data, p.x_type = dx.dtype;
  return p;
}
bool backward_supports(const Node& n) {
  return is_quantized(n.in[1].dtype) && !n.attr_flag("transposed") && is_activation(n.in[0]) && is_activation(n.out[0]);
}
size_t backward_scratch(const Node& n, int threads) { return active().quant_backward_scratch(backward(n), threads); }
void backward_run(const Node& n, Context& c) { active().quant_backward(backward(n), c.pool, c.scratch); }

}  // namespace

void register_quant() {
  add_kernel("linear", "quant_linear", linear_supports, linear_scratch, linear_run, {linear_packing, linear_pack},
      linear_group);
  add_kernel("linear_backward_input", "quant_linear_backward_input", backward_supports, backward_scratch, backward_run);
}

}  // namespace cpu
}  // namespace heddle
