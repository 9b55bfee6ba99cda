// Ranges of a value's elements, one for each rank, in the attributes of a node: `first` is the first rank that has a
// range, `ranks` the number of ranks from there on, and `end.i` the end of range i. The ends are adjacent in the list
// of attributes, in ascending order of i.
#pragma once
#include "ops/check.h"
#include "core/rank_sums.h"

namespace heddle {

// Checks the attributes of a node. It must have at least `least` ranges. If it has any, they must cover all elements of
// `whole`. Returns the size of the longest range, or 0 without ranges.
int64_t check_ranges(const Check& check, const Node& node, Operand whole, int64_t least);

// Returns the ranges of a node. `sums`: null if the device has not joined a world. Throws INVALID_ARGUMENT if the world
// has fewer ranks.
RankRanges ranges_of(const char* op, const Node& node, const RankSums* sums);
// The same for an op whose input `own` has the size of this rank's range. Throws SHAPE_MISMATCH if it has another size.
RankRanges own_ranges(const char* op, const Node& node, size_t own, const RankSums* sums);

}  // namespace heddle
