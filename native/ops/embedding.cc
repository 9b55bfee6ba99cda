// Token embedding: rows of a table, multiplied by `scale` (gemma's sqrt(d)), and its gradient.
#include "ops/check.h"
#include "ops/indices.h"
#include "ops/reference.h"

namespace heddle {
namespace {

constexpr double largest = 3.4e38;

// table (V, C), ids (N) -> y (N, C)
void check_embedding(const Node& n) {
  Check c("embedding", n, 2, 2, 1, 1);
  const Operand table = c.in(0, "table"), ids = c.in(1, "ids"), y = c.out(0, "y");
  c.rank(table, 2), c.dtype(table, weight_types);
  c.rank(ids, 1), c.dtype(ids, i32_only);
  c.dtype(y, activation_types), c.shape(y, {ids.shape()[0], table.shape()[1]});
  c.attr("scale", -largest, largest);
}

void embedding(const Node& n) {
  const Tensor &table = n.in[0], &ids = n.in[1], &y = n.out[0];
  const int64_t V = table.shape[0], C = table.shape[1], N = ids.shape[0];
  const double scale = n.attr("scale");
  check_indices("embedding", "id", ids, V);
  Row row(C);
  for (int64_t i = 0; i < N; ++i) {
    load_row(table, ids.as<int32_t>()[i] * C, C, row.data());
    for (double& v : row) v *= scale;
    store_row(y, i * C, row);
  }
}

// dy (N, C), ids (N), onto? (V, C) f32 -> dtable (V, C) f32: the gradient, plus `onto`. Without `onto`, rows of unused
// ids are zero.
void check_embedding_backward(const Node& n) {
  Check c("embedding_backward", n, 2, 3, 1, 1);
  const Operand dy = c.in(0, "dy"), ids = c.in(1, "ids"), dtable = c.out(0, "dtable");
  c.rank(dy, 2), c.dtype(dy, activation_types);
  c.rank(ids, 1), c.dtype(ids, i32_only), c.same_dim(ids, 0, dy, 0);
  c.rank(dtable, 2), c.dtype(dtable, f32_only), c.same_dim(dtable, 1, dy, 1);
  if (n.has_input(2)) c.dtype(c.in(2, "onto"), f32_only), c.same_shape(c.in(2, "onto"), dtable);
  c.attr("scale", -largest, largest);
}

void embedding_backward(const Node& n) {
  const Tensor &dy = n.in[0], &ids = n.in[1], &dtable = n.out[0];
  const int64_t V = dtable.shape[0], C = dtable.shape[1], N = ids.shape[0];
  const double scale = n.attr("scale");
  check_indices("embedding_backward", "id", ids, V);
  Row sum(static_cast<size_t>(V * C)), row(C);
  if (n.has_input(2)) load_row(n.in[2], 0, V * C, sum.data());
  for (int64_t i = 0; i < N; ++i) {
    load_row(dy, i * C, C, row.data());
    double* to = sum.data() + ids.as<int32_t>()[i] * C;
    for (int64_t j = 0; j < C; ++j) to[j] += scale * row[j];
  }
  store_row(dtable, 0, sum);
}

HEDDLE_OP(embedding_op, {"embedding", 2, 2, 1, check_embedding, embedding, 0, 0, false, true});
HEDDLE_OP(
    embedding_backward_op, {"embedding_backward", 2, 3, 1, check_embedding_backward, embedding_backward, 0, 0b100});

}  // namespace
}  // namespace heddle
