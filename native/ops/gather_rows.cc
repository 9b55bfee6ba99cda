// gather_rows picks rows of a matrix, such as the last token of each sequence. segment_sum adds up rows by segment
// number, such as the tokens of each sequence. Each is the other's gradient.
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

// x (R, C), segments (R) i32 -> y (S, C): row s is the sum of the rows of x whose segment is s, or zero
void check_segment_sum(const Node& n) {
  Check c("segment_sum", n, 2, 2, 1, 1);
  const Operand x = c.in(0, "x"), segments = c.in(1, "segments"), y = c.out(0, "y");
  c.rank(x, 2), c.dtype(x, activation_types);
  c.rank(segments, 1), c.dtype(segments, i32_only), c.same_dim(segments, 0, x, 0);
  c.rank(y, 2), c.dtype(y, activation_types), c.same_dim(y, 1, x, 1);
}

void segment_sum(const Node& n) {
  const Tensor &x = n.in[0], &segments = n.in[1], &y = n.out[0];
  const int64_t C = y.shape[1];
  check_indices("segment_sum", "segment", segments, y.shape[0]);
  Row sum(static_cast<size_t>(y.shape.size())), row(C);
  for (int64_t i = 0; i < segments.shape[0]; ++i) {
    load_row(x, i * C, C, row.data());
    for (int64_t j = 0; j < C; ++j) sum[segments.as<int32_t>()[i] * C + j] += row[j];
  }
  store_row(y, 0, sum);
}

HEDDLE_OP(gather_rows_op, {"gather_rows", 2, 2, 1, check_gather_rows, gather_rows});
HEDDLE_OP(segment_sum_op, {"segment_sum", 2, 2, 1, check_segment_sum, segment_sum});

}  // namespace
}  // namespace heddle
