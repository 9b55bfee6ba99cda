#include "runtime/plan/passes.h"

namespace heddle {

// All operands of a group but the shared first one must be bound tensors. A value in the arena could share memory with
// an output of the group. It would then be overwritten before a later node of the group reads it.
void find_groups(const ProgramDesc& desc, ExecutionPlan& plan) {
  std::vector<char> is_bound(desc.values.size(), 0);
  for (int v : desc.bound) is_bound[v] = 1;
  const auto joins = [&](size_t i) {
    const PlannedNode& n = plan.nodes[i];
    if (!n.kernel || !n.kernel->run_group || n.is_noop) return false;
    for (size_t k = 1; k < desc.nodes[i].inputs.size(); ++k)
      if (const int v = desc.nodes[i].inputs[k]; v >= 0 && !is_bound[plan.values[v].root]) return false;
    return true;
  };
  for (size_t i = 0; i < plan.nodes.size(); i += plan.nodes[i].group) {
    size_t& group = plan.nodes[i].group;
    while (joins(i) && group < max_grouped && i + group < plan.nodes.size()) {
      const size_t next = i + group;
      if (!joins(next) || plan.nodes[next].kernel != plan.nodes[i].kernel ||
          desc.nodes[next].inputs[0] != desc.nodes[i].inputs[0] ||
          !(desc.nodes[next].attributes == desc.nodes[i].attributes))
        break;
      ++group;
    }
  }
}

}  // namespace heddle
