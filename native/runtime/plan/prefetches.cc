#include <algorithm>

#include "runtime/plan/passes.h"

namespace heddle {
namespace {

// Whether the node's operands exist when the program begins, and no node writes them.
bool can_start_early(const ProgramDesc& desc, const ExecutionPlan& plan, const NodeDesc& node) {
  for (int v : node.inputs) {
    if (v < 0) continue;
    const int root = plan.values[v].root;
    if (std::find(desc.bound.begin(), desc.bound.end(), root) == desc.bound.end()) return false;
    for (size_t i = 0; i < plan.nodes.size(); ++i)
      for (size_t k = 0; k < desc.nodes[i].inputs.size(); ++k) {
        const int operand = desc.nodes[i].inputs[k];
        if (operand >= 0 && plan.nodes[i].op->writes(k) && plan.values[operand].root == root) return false;
      }
  }
  return true;
}

}  // namespace

// Ranks can exchange data while the lane computes. Each node that exchanges data therefore starts the exchange of the
// next such node.
void find_prefetches(const ProgramDesc& desc, ExecutionPlan& plan) {
  int next = -1;
  for (size_t i = plan.nodes.size(); i-- > 0;) {
    PlannedNode& n = plan.nodes[i];
    if (!n.kernel || !n.kernel->start) continue;
    n.next_start = next;
    next = can_start_early(desc, plan, desc.nodes[i]) ? static_cast<int>(i) : -1;
  }
}

}  // namespace heddle
