#include "ops/rank_ranges.h"

#include <algorithm>
#include <string>

namespace heddle {
namespace {

constexpr int64_t most_ranks = 65536;

}  // namespace

int64_t check_ranges(const Check& c, const Node& n, Operand whole, int64_t least) {
  const int64_t first = c.attr_int("first", 0, most_ranks - 1), ranks = c.attr_int("ranks", least, most_ranks - first);
  if (ranks == 0) return 0;
  int64_t begin = 0, longest = 0;
  for (const int64_t end : n.attributes->list("end.0", static_cast<size_t>(ranks))) {
    if (end < begin) c.invalid("expected ends that do not decrease, got " + std::to_string(end));
    longest = std::max(longest, end - begin);
    begin = end;
  }
  const int64_t elements = whole.shape().size();
  if (begin != elements)
    c.mismatch("expected ranges of " + std::string(whole.name) + "'s " + std::to_string(elements) +
               " elements, got an end of " + std::to_string(begin));
  return longest;
}

RankRanges ranges_of(const char* op, const Node& n, const RankSums* sums) {
  RankRanges ranges;
  ranges.first = static_cast<int>(n.attr_int("first"));
  const int64_t ranks = n.attr_int("ranks");
  if (ranks > 0) ranges.ends = n.attributes->list("end.0", static_cast<size_t>(ranks));
  const int size = sums ? sums->size() : 1;
  if (ranges.first + ranks > size)
    throw invalid_argument(std::string(op) + ": expected ranges for at most " + std::to_string(size) +
                           " ranks, the size of the device's world, got " + std::to_string(ranges.first + ranks));
  return ranges;
}

RankRanges own_ranges(const char* op, const Node& n, size_t own, const RankSums* sums) {
  const RankRanges ranges = ranges_of(op, n, sums);
  const int rank = sums ? sums->rank() : 0;
  const RankRanges::Range range = ranges.of(rank);
  const int64_t expected = range.end - range.begin, got = n.has_input(own) ? n.in[own].shape.size() : 0;
  if (expected != got)
    throw shape_mismatch(std::string(op) + ": own: expected the " + std::to_string(expected) + " elements of rank " +
                         std::to_string(rank) + ", got " + std::to_string(got));
  return ranges;
}

}  // namespace heddle
