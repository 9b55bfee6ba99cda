#include "ops/reduce_scatter.h"

#include <algorithm>
#include <string>

#include "ops/check.h"

namespace heddle {
namespace {

constexpr int64_t most_ranks = 65536;

// g f32 is cut into ranges of its elements, one for each of `ranks` ranks from rank `first` on. `end.i` is the end of
// range i. The ends are set one after another. own f32 = the sum over all ranks of this rank's range, or own += that
// sum with `add`. A rank without a range has no operand own.
void check_reduce_scatter(const Node& n) {
  Check c("reduce_scatter", n, 1, 2, 0, 0);
  const Operand g = c.in(0, "g");
  c.dtype(g, f32_only);
  c.attr_flag("add");
  const int64_t longest = check_ranges(c, n, "g", g.shape().size());
  if (!c.has(1)) return;
  const Operand own = c.in(1, "own");
  c.dtype(own, f32_only);
  if (own.shape().size() > longest)
    c.mismatch(
        "own: expected at most " + std::to_string(longest) + " elements, got " + std::to_string(own.shape().size()));
}

// A device that has not joined a world is its only rank.
void reduce_scatter(const Node& n) {
  const RankRanges ranges = rank_ranges(n, nullptr);
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

int64_t check_ranges(const Check& c, const Node& n, const char* of, int64_t elements) {
  const int64_t first = c.attr_int("first", 0, most_ranks - 1), ranks = c.attr_int("ranks", 1, most_ranks - first);
  int64_t begin = 0, longest = 0;
  for (const int64_t end : n.attributes->list("end.0", static_cast<size_t>(ranks))) {
    if (end < begin) c.invalid("expected ends that do not decrease, got " + std::to_string(end));
    longest = std::max(longest, end - begin);
    begin = end;
  }
  if (begin != elements)
    c.mismatch("expected ranges of " + std::string(of) + "'s " + std::to_string(elements) +
               " elements, got an end of " + std::to_string(begin));
  return longest;
}

RankRanges rank_ranges(const Node& n, const RankSums* sums) { return ranges_of(n, "reduce_scatter", 1, sums); }

RankRanges ranges_of(const Node& n, const char* name, size_t operand, const RankSums* sums) {
  RankRanges ranges;
  ranges.first = static_cast<int>(n.attr_int("first"));
  const int64_t ranks = n.attr_int("ranks");
  ranges.ends = n.attributes->list("end.0", static_cast<size_t>(ranks));
  const int rank = sums ? sums->rank() : 0, size = sums ? sums->size() : 1;
  if (ranges.first + ranks > size)
    throw invalid_argument(std::string(name) + ": expected ranges of at most " + std::to_string(size) +
                           " ranks, which the device's world has, got " + std::to_string(ranges.first + ranks));
  const RankRanges::Range own = ranges.of(rank);
  const int64_t room = n.has_input(operand) ? n.in[operand].shape.size() : 0;
  if (own.end - own.begin != room)
    throw shape_mismatch(std::string(name) + ": own: expected the " + std::to_string(own.end - own.begin) +
                         " elements of rank " + std::to_string(rank) + ", got " + std::to_string(room));
  return ranges;
}

}  // namespace heddle
