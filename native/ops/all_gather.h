// A value of which every rank keeps a part, collected from all ranks.
#pragma once
#include "ops/op.h"
#include "runtime/rank_sums.h"

namespace heddle {

// The ranges of an all_gather node. `sums`: null if the device has not joined a world. Throws INVALID_ARGUMENT if the
// world has fewer ranks, SHAPE_MISMATCH if `own` does not have the size of this rank's range.
RankRanges gathered_ranges(const Node& node, const RankSums* sums);

}  // namespace heddle
