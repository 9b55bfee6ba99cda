// Sums over ranks, of which every rank keeps a part.
#pragma once
#include "ops/op.h"
#include "runtime/rank_sums.h"

namespace heddle {

// The ranges of a reduce_scatter node. `sums`: null if the device has not joined a world. Throws INVALID_ARGUMENT if
// the world has fewer ranks, SHAPE_MISMATCH if `own` does not have the size of this rank's range.
RankRanges rank_ranges(const Node& node, const RankSums* sums);

}  // namespace heddle
