// Picking rows of a matrix (the last token of each sequence), and the gradient: rows may repeat, so it adds.
#include <cstring>

#include "ops/check.h"
#include "ops/indices.h"
#include "ops/reference.h"

namespace heddle {
namespace {

// x (N, C), rows (R) i32 -> y (R, C)
void check_gather_rows(const Node& n) {
  Check c("gather_rows", n, 2, 2, 1, 1);
  const Operand x = c.in(0, "x"), rows = c.in(1, "rows"), y = c.out(0, "y");
  c.rank(x, 2), c.rank(rows, 1), c.dtype(rows, i32_only);
  c.same_dtype(y, x), c.shape(y, {rows.shape()[0], x.shape()[1]});
}

void gather_rows(const Node& n) {
  const Tensor &x = n.in[0], &rows = n.in[1], &y = n.out[0];
  check_indices("gather_rows", "row", rows, x.shape[0]);
  const size_t bytes = x.shape[1] * dtype_bytes(x.dtype);
  if (bytes == 0) return;
  for (int64_t i = 0; i < rows.shape[0]; ++i)
    std::memcpy(y.as<char>() + i * bytes, x.as<char>() + rows.as<int32_t>()[i] * bytes, bytes);
}

// dy (R, C), rows (R) i32, x (N, C) for its shape only -> dx (N, C)
void check_gather_rows_backward(const Node& n) {
  Check c("gather_rows_backward", n, 3, 3, 1, 1);
  const Operand dy = c.in(0, "dy"), rows = c.in(1, "rows"), x = c.in(2, "x"), dx = c.out(0, "dx");
  c.rank(x, 2), c.rank(dy, 2), c.dtype(dy, activation_types), c.same_dim(dy, 1, x, 1);
  c.rank(rows, 1), c.dtype(rows, i32_only), c.same_dim(rows, 0, dy, 0);
  c.same_shape(dx, x), c.dtype(dx, activation_types);
}

void gather_rows_backward(const Node& n) {
  const Tensor &dy = n.in[0], &rows = n.in[1], &dx = n.out[0];
  const int64_t C = dx.shape[1];
  check_indices("gather_rows_backward", "row", rows, dx.shape[0]);
  Row sum(static_cast<size_t>(dx.shape.size())), row(C);
  for (int64_t i = 0; i < rows.shape[0]; ++i) {
    load_row(dy, i * C, C, row.data());
    for (int64_t j = 0; j < C; ++j) sum[rows.as<int32_t>()[i] * C + j] += row[j];
  }
  store_row(dx, 0, sum);
}

HEDDLE_OP(gather_rows_op, {"gather_rows", 2, 2, 1, check_gather_rows, gather_rows});
HEDDLE_OP(gather_rows_backward_op, {"gather_rows_backward", 3, 3, 1, check_gather_rows_backward, gather_rows_backward});

}  // namespace
}  // namespace heddle
