#include <string>

#include "ops/rank_ops.h"
#include "ops/rank_ranges.h"

namespace heddle {
namespace {

// y is cut into ranges (rank_ranges.h). Range i has the values of rank `first` + i, converted to y's type. `first` is
// an attribute. own is this rank's range. A rank without a range has no operand own.
void check_all_gather(const Node& n) {
  Check c("all_gather", n, 0, 1, 1, 1);
  const Operand y = c.out(0, "y");
  c.dtype(y, activation_types);
  const int64_t longest = check_ranges(c, n, y, 1);
  if (!c.has(0)) return;
  const Operand own = c.in(0, "own");
  c.dtype(own, activation_types);
  if (own.shape().size() > longest)
    c.mismatch(
        "own: expected at most " + std::to_string(longest) + " elements, got " + std::to_string(own.shape().size()));
}

// The reference takes this device for the only rank, whose range is the whole of y.
void all_gather(const Node& n) {
  const RankRanges ranges = gathered_ranges(n, nullptr);
  for (int64_t i = 0; i < ranges.ends[0]; ++i) store_float(n.out[0], i, load_float(n.in[0], i));
}

const OpDef all_gather_op = [] {
  OpDef op{"all_gather", 0, 1, 1, check_all_gather, all_gather};
  op.uses_ranks = true;
  return op;
}();
const RegisterOp register_all_gather(all_gather_op);

}  // namespace

RankRanges gathered_ranges(const Node& n, const RankSums* sums) { return own_ranges("all_gather", n, 0, sums); }

}  // namespace heddle
