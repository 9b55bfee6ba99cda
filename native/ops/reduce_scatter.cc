#include <string>

#include "ops/rank_ops.h"
#include "ops/rank_ranges.h"

namespace heddle {
namespace {

// g f32 is cut into ranges (rank_ranges.h). own f32 = the sum over all ranks of this rank's range, or own += that sum
// with `add`. A rank without a range has no operand own.
void check_reduce_scatter(const Node& n) {
  Check c("reduce_scatter", n, 1, 2, 0, 0);
  const Operand g = c.in(0, "g");
  c.dtype(g, f32_only);
  c.attr_flag("add");
  const int64_t longest = check_ranges(c, n, g, 1);
  if (!c.has(1)) return;
  const Operand own = c.in(1, "own");
  c.dtype(own, f32_only);
  if (own.shape().size() > longest)
    c.mismatch(
        "own: expected at most " + std::to_string(longest) + " elements, got " + std::to_string(own.shape().size()));
}

// A device that has not joined a world acts as the only rank.
void reduce_scatter(const Node& n) {
  const RankRanges ranges = scattered_ranges(n, nullptr);
  if (!n.has_input(1)) return;
  const float* g = n.in[0].as<float>();
  float* own = n.in[1].as<float>();
  const bool adds = n.attr_flag("add");
  for (int64_t i = 0; i < ranges.ends[0]; ++i) own[i] = adds ? own[i] + g[i] : g[i];
}

const OpDef reduce_scatter_op = [] {
  OpDef op{"reduce_scatter", 1, 2, 0, check_reduce_scatter, reduce_scatter, 0b10};
  op.uses_ranks = true;
  return op;
}();
const RegisterOp register_reduce_scatter(reduce_scatter_op);

}  // namespace

RankRanges scattered_ranges(const Node& n, const RankSums* sums) { return own_ranges("reduce_scatter", n, 1, sums); }

}  // namespace heddle
