#include <algorithm>

#include "runtime/plan/passes.h"

namespace heddle {

// Computes the source of an assignment, usually a gradient, in the destination. Saves the copy and the source's memory.
void elide_assigns(const ProgramDesc& desc, ExecutionPlan& plan, std::vector<Lifetime>& lifetimes) {
  std::vector<size_t> first_user(desc.values.size(), desc.nodes.size());  // of a root's memory
  for (size_t i = desc.nodes.size(); i-- > 0;)
    for (int v : desc.nodes[i].inputs)
      if (v >= 0) first_user[static_cast<size_t>(plan.values[v].root)] = i;
  for (size_t i = 0; i < desc.nodes.size(); ++i) {
    if (!plan.nodes[i].op->is_copy) continue;
    const int to = desc.nodes[i].inputs[0], from = plan.values[desc.nodes[i].inputs[1]].root;
    const bool is_bound = std::find(desc.bound.begin(), desc.bound.end(), to) != desc.bound.end();
    // No node may use the tensor before the assignment.
    if (!is_bound || first_user[static_cast<size_t>(to)] != i || lifetimes[to].is_output) continue;
    Lifetime& source = lifetimes[from];
    if (!source.in_arena || source.is_output || source.first < 0 || source.last != static_cast<int>(i)) continue;
    if (desc.values[to].dtype != desc.values[from].dtype || desc.largest(to).bytes() != desc.largest(from).bytes())
      continue;
    for (PlannedValue& v : plan.values)
      if (v.root == from) v.root = to;
    source.in_arena = false;
    plan.nodes[i].is_noop = true, plan.values[to].replaces_assign = true;
  }
}

}  // namespace heddle
