// Reads the nodes of ops that exchange data with other ranks, for their kernels. `sums` is null if the device has not
// joined a world. The device is then the only rank.
#pragma once
#include "ops/op.h"
#include "core/rank_sums.h"

namespace heddle {

// Starts the sums of an all_reduce node. Throws INVALID_ARGUMENT if the world has fewer ranks than the node.
void start_all_reduce(const Node& node, RankSums* sums);

// Returns the ranges of a reduce_scatter node. Throws INVALID_ARGUMENT if the world has fewer ranks, SHAPE_MISMATCH if
// `own` does not have the size of this rank's range.
RankRanges scattered_ranges(const Node& node, const RankSums* sums);
// The same for an all_gather node.
RankRanges gathered_ranges(const Node& node, const RankSums* sums);

}  // namespace heddle
