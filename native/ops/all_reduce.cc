#include "ops/rank_ops.h"
#include "ops/rank_ranges.h"

namespace heddle {
namespace {

// Replaces x (a bound tensor, f32 or bf16) with its sum over all ranks. With ranges (rank_ranges.h), each rank gets
// only the sums of its range, and its other elements do not change. `ranks` 0: all ranks get all sums.
void check_all_reduce(const Node& n) {
  Check c("all_reduce", n, 1, 1, 0, 0);
  const Operand x = c.in(0, "x");
  c.dtype(x, activation_types);
  check_ranges(c, n, x, 0);
}

// Without a world there is only one rank, so x already is the sum. Checks the ranges.
void all_reduce(const Node& n) { ranges_of("all_reduce", n, nullptr); }

const OpDef all_reduce_op = [] {
  OpDef op{"all_reduce", 1, 1, 0, check_all_reduce, all_reduce, 0b1};
  op.uses_ranks = true;
  return op;
}();
const RegisterOp register_all_reduce(all_reduce_op);

}  // namespace

void start_all_reduce(const Node& n, RankSums* sums) {
  const RankRanges ranges = ranges_of("all_reduce", n, sums);
  const Tensor& x = n.in[0];
  if (!sums || sums->size() == 1) return;
  sums->start_in_place(x.data, x.dtype, static_cast<size_t>(x.shape.size()), ranges.ends.empty() ? nullptr : &ranges);
}

}  // namespace heddle
