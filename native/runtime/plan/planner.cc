#include "runtime/plan/planner.h"

#include <algorithm>
#include <numeric>

#include "core/error.h"
#include "core/round.h"

namespace heddle {

MemoryPlan plan_memory(const std::vector<Interval>& intervals, size_t guard) {
  // Limits sizes so that no sum below can overflow, which would make values overlap.
  const size_t most = static_cast<size_t>(-1) / 2 / (intervals.size() + 1);
  for (const Interval& i : intervals)
    if (i.bytes > most - guard - 64)
      throw Error("OUT_OF_MEMORY", "plan: expected values of at most " + std::to_string(most - guard - 64) +
                                       " bytes, got " + std::to_string(i.bytes));
  auto padded = [&](int i) { return padded_to_line(intervals[i].bytes + guard); };
  std::vector<int> order(intervals.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return intervals[a].bytes > intervals[b].bytes; });

  MemoryPlan plan;
  plan.offsets.assign(intervals.size(), 0);
  std::vector<int> placed;  // ascending by offset
  for (int i : order) {
    size_t offset = 0;
    for (int p : placed) {
      if (intervals[p].last < intervals[i].first || intervals[i].last < intervals[p].first) continue;
      if (plan.offsets[p] >= offset + padded(i)) break;  // the gap before p is large enough
      offset = std::max(offset, plan.offsets[p] + padded(p));
    }
    plan.offsets[i] = offset;
    plan.bytes = std::max(plan.bytes, offset + padded(i));
    placed.insert(std::upper_bound(
                      placed.begin(), placed.end(), i, [&](int a, int b) { return plan.offsets[a] < plan.offsets[b]; }),
        i);
  }
  return plan;
}

}  // namespace heddle
