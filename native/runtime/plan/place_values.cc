#include "runtime/plan/passes.h"
#include "runtime/plan/planner.h"

namespace heddle {

void place_values(const ProgramDesc& desc, ExecutionPlan& plan, const std::vector<Lifetime>& lifetimes) {
  std::vector<Interval> intervals;
  std::vector<size_t> owners;
  for (size_t v = 0; v < lifetimes.size(); ++v) {
    if (!lifetimes[v].in_arena) continue;
    intervals.push_back({desc.largest(static_cast<int>(v)).bytes(), lifetimes[v].first, lifetimes[v].last});
    owners.push_back(v);
  }
  const MemoryPlan memory = plan_memory(intervals, plan.checking ? guard_bytes : 0);
  plan.arena_bytes = memory.bytes;
  for (size_t i = 0; i < owners.size(); ++i) plan.values[owners[i]].offset = memory.offsets[i];
  for (PlannedValue& v : plan.values) v.offset = plan.values[v.root].offset;
  for (int v : desc.inputs) {
    plan.input_offsets.push_back(plan.input_bytes);
    plan.input_bytes += padded_to_line(desc.largest(v).bytes());
  }
}

}  // namespace heddle
