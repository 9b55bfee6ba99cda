// Linear layers with a fused epilogue: an activation, a gate or an addition. lib/graph/passes/fuse-epilogues.ts makes
// them from separate nodes, for devices whose kernels apply the epilogue to sums in registers. Values that a backward
// pass needs are optional outputs. The product is not rounded before the epilogue.
#include "ops/activation.h"
#include "ops/check.h"
#include "ops/linear.h"

namespace heddle {
namespace {

constexpr int max_activation = 4;

// Checks operand `at` as a weight for x, and operand `bias`, if present, as its bias. Returns M.
int64_t check_weight(const Check& c, const Operand& x, size_t at, const char* name, size_t bias) {
  const int m = output_axis(c.attr_flag("transposed"));
  const Operand w = c.in(at, name);
  c.rank(w, 2), c.dtype(w, float_types), c.same_dim(x, 1, w, 1 - m);
  if (c.has(bias)) {
    const Operand b = c.in(bias, "bias");
    c.rank(b, 1), c.dtype(b, float_types), c.same_dim(b, 0, w, m);
  }
  return w.shape()[m];
}
Operand check_x(const Check& c) {
  const Operand x = c.in(0, "x");
  c.rank(x, 2), c.dtype(x, activation_types);
  return x;
}
void check_out(const Check& c, size_t i, const char* name, int64_t rows, int64_t columns) {
  const Operand y = c.out(i, name);
  c.dtype(y, activation_types), c.shape(y, {rows, columns});
}
const Tensor* optional(const Node& n, size_t i) { return n.has_input(i) ? &n.in[i] : nullptr; }
void add_all(Row& sums, const Tensor& onto) {
  const Row more = load_all(onto);
  for (size_t i = 0; i < sums.size(); ++i) sums[i] += more[i];
}

// x (N, K), w, bias? (M) -> act(x W^T + bias) (N, M), and optionally the activation's input
void check_linear_activation(const Node& n) {
  Check c("linear_activation", n, 2, 3, 1, 2);
  const Operand x = check_x(c);
  const int64_t M = check_weight(c, x, 1, "w", 2);
  c.attr_int("activation", 0, max_activation);
  for (size_t i = 0; i < n.out.size(); ++i) check_out(c, i, i ? "before" : "y", x.shape()[0], M);
}

void linear_activation(const Node& n) {
  Row sums = linear_sums(n, n.in[1], optional(n, 2));
  if (n.out.size() > 1) store_row(n.out[1], 0, sums);
  for (double& v : sums) v = activate(n.attr_int("activation"), v).value;
  store_row(n.out[0], 0, sums);
}

// x (N, K), w, bias? (M), onto (N, M) -> x W^T + bias + onto (N, M)
void check_linear_add(const Node& n) {
  Check c("linear_add", n, 4, 4, 1, 1);
  const Operand x = check_x(c), onto = c.in(3, "onto");
  const int64_t M = check_weight(c, x, 1, "w", 2);
  c.dtype(onto, activation_types), c.shape(onto, {x.shape()[0], M});
  check_out(c, 0, "y", x.shape()[0], M);
}

void linear_add(const Node& n) {
  Row sums = linear_sums(n, n.in[1], optional(n, 2));
  add_all(sums, n.in[3]);
  store_row(n.out[0], 0, sums);
}

// x (N, K), gate's and up's weights (M, K), their biases? (M) -> act(gate) * up (N, M), and optionally gate and up
void check_linear_glu(const Node& n) {
  Check c("linear_glu", n, 3, 5, 1, 3);
  const Operand x = check_x(c);
  if (c.attr_flag("transposed")) c.invalid("expected weights (outputs, inputs), got transposed ones");
  const int64_t M = check_weight(c, x, 1, "gate", 3);
  check_weight(c, x, 2, "up", 4);
  c.same_shape(c.in(2, "up"), c.in(1, "gate")), c.same_dtype(c.in(2, "up"), c.in(1, "gate"));
  c.attr_int("activation", 0, max_activation);
  const char* const names[] = {"y", "kept gate", "kept up"};
  if (n.out.size() == 2) c.mismatch("expected one output or three, got two");
  for (size_t i = 0; i < n.out.size(); ++i) check_out(c, i, names[i], x.shape()[0], M);
}

void linear_glu(const Node& n) {
  Row gate = linear_sums(n, n.in[1], optional(n, 3));
  const Row up = linear_sums(n, n.in[2], optional(n, 4));
  if (n.out.size() > 1) store_row(n.out[1], 0, gate), store_row(n.out[2], 0, up);
  for (size_t i = 0; i < gate.size(); ++i) gate[i] = activate(n.attr_int("activation"), gate[i]).value * up[i];
  store_row(n.out[0], 0, gate);
}

// dy (N, M), w, onto (N, K) -> dx + onto (N, K)
void check_linear_backward_input_add(const Node& n) {
  Check c("linear_backward_input_add", n, 3, 3, 1, 1);
  const Operand dy = c.in(0, "dy"), w = c.in(1, "w"), onto = c.in(2, "onto"), dx = c.out(0, "dx");
  const int m = output_axis(c.attr_flag("transposed"));
  c.rank(dy, 2), c.dtype(dy, activation_types);
  c.rank(w, 2), c.dtype(w, float_types), c.same_dim(dy, 1, w, m);
  c.dtype(dx, activation_types), c.shape(dx, {dy.shape()[0], w.shape()[1 - m]});
  c.dtype(onto, activation_types), c.same_shape(onto, dx);
}

void linear_backward_input_add(const Node& n) {
  Row sums = linear_backward_input_sums(n);
  add_all(sums, n.in[2]);
  store_row(n.out[0], 0, sums);
}

HEDDLE_OP(linear_activation_op, {"linear_activation", 2, 3, 2, check_linear_activation, linear_activation, 0, 0, false,
                                    false, false, by_rows<0b1>});
HEDDLE_OP(linear_add_op, {"linear_add", 4, 4, 1, check_linear_add, linear_add, 0, 0b1000});
HEDDLE_OP(linear_glu_op, {"linear_glu", 3, 5, 3, check_linear_glu, linear_glu});
HEDDLE_OP(linear_backward_input_add_op,
    {"linear_backward_input_add", 3, 3, 1, check_linear_backward_input_add, linear_backward_input_add, 0, 0b100});

}  // namespace
}  // namespace heddle
