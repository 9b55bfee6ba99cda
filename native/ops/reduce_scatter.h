// The ranges of a value's elements that each rank keeps, for ops that sum a value over ranks (reduce_scatter) or
// collect it from them (all_gather).
#pragma once
#include "ops/check.h"
#include "ops/op.h"
#include "runtime/rank_sums.h"

namespace heddle {

// Returns the ranges of a reduce_scatter node. `sums`: null if the device has not joined a world. Throws
// INVALID_ARGUMENT if the node has ranges for ranks that the world lacks. Throws SHAPE_MISMATCH if operand `own` does
// not have the size of this rank's range.
RankRanges rank_ranges(const Node& node, const RankSums* sums);
// The same for an all_gather node.
RankRanges gathered_ranges(const Node& node, const RankSums* sums);
// The same for a node of the op `name`. `own` is the index of the operand that holds this rank's range.
RankRanges ranges_of(const Node& node, const char* name, size_t own, const RankSums* sums);

// Checks the attributes that cut the `elements` elements of operand `of` into ranges. Returns the longest range's size.
int64_t check_ranges(const Check& check, const Node& node, const char* of, int64_t elements);

}  // namespace heddle
