// Values that ranks sum or collect, of which every rank keeps a part.
#pragma once
#include "ops/check.h"
#include "ops/op.h"
#include "runtime/rank_sums.h"

namespace heddle {

// The ranges of a reduce_scatter node. `sums`: null if the device has not joined a world. Throws INVALID_ARGUMENT if
// the world has fewer ranks, SHAPE_MISMATCH if `own` does not have the size of this rank's range.
RankRanges rank_ranges(const Node& node, const RankSums* sums);
// The same for an all_gather node.
RankRanges gathered_ranges(const Node& node, const RankSums* sums);
// The same for an op `name` whose operand with this rank's range has the index `own`.
RankRanges ranges_of(const Node& node, const char* name, size_t own, const RankSums* sums);

// Checks the attributes that cut the `elements` elements of operand `of` into ranges. Returns the longest range's size.
int64_t check_ranges(const Check& check, const Node& node, const char* of, int64_t elements);

}  // namespace heddle
