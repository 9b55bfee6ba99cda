// Logarithm of the softmax over the last dimension, and its gradient.
#include "ops/attention.h"

namespace heddle {
namespace {

void check_rows(const char* op, const Node& n, std::initializer_list<const char*> inputs) {
  check_elementwise(op, n, inputs);
  const int count = static_cast<int>(inputs.size());
  const Check c(op, n, count, count, 1, 1);
  const Operand first = c.in(0, *inputs.begin());
  c.rank_at_least(first, 1), c.positive(first, n.in[0].shape.rank - 1);
}

void check_log_softmax(const Node& n) { check_rows("log_softmax", n, {"x"}); }

void log_softmax(const Node& n) {
  const int64_t C = n.in[0].shape.last(), rows = n.in[0].shape.rows();
  for (int64_t i = 0; i < rows; ++i) {
    Row row = load_row(n.in[0], i * C, C), probabilities = row;
    const double log_sum = softmax_in_place(probabilities.data(), C);
    for (double& x : row) x -= log_sum;
    store_row(n.out[0], i * C, row);
  }
}

void check_log_softmax_backward(const Node& n) { check_rows("log_softmax_backward", n, {"dy", "y"}); }

void log_softmax_backward(const Node& n) {
  const int64_t C = n.in[0].shape.last(), rows = n.in[0].shape.rows();
  for (int64_t i = 0; i < rows; ++i) {
    Row dy = load_row(n.in[0], i * C, C);
    const Row y = load_row(n.in[1], i * C, C);
    double sum = 0;
    for (const double d : dy) sum += d;
    for (int64_t j = 0; j < C; ++j) dy[j] -= std::exp(y[j]) * sum;
    store_row(n.out[0], i * C, dy);
  }
}

HEDDLE_OP(log_softmax_op,
    {"log_softmax", 1, 1, 1, check_log_softmax, log_softmax, 0, 0b1, false, false, false, nullptr, true});
HEDDLE_OP(log_softmax_backward_op, {"log_softmax_backward", 2, 2, 1, check_log_softmax_backward, log_softmax_backward});

}  // namespace
}  // namespace heddle
