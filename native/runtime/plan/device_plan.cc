#include "core/accelerator.h"
#include "runtime/plan/passes.h"

namespace heddle {

std::shared_ptr<const ExecutionPlan> plan_for(
    const Accelerator& accelerator, const ProgramDesc& desc, ExecutionPlan plan) {
  for (size_t i = 0; i < plan.nodes.size(); ++i) {
    PlannedNode& n = plan.nodes[i];
    n.group = 1, n.fused_add = 0, n.next_stream = {}, n.next_start = -1;
    if (n.is_noop) continue;
    n.kernel = Registry::pick(desc.nodes[i].op, n.bounds, DeviceKind::cuda);
    if (n.kernel || Registry::references_only()) continue;
    std::string operands;
    for (size_t k = 0; k < n.bounds.in.size(); ++k)
      if (n.bounds.has_input(k))
        operands += (operands.empty() ? "" : ", ") + std::string(dtype_name(n.bounds.in[k].dtype)) +
                    to_string(n.bounds.in[k].shape);
    throw Error("UNSUPPORTED", desc.nodes[i].op + ": expected a kernel of " + accelerator.name() +
                                   ", got none for operands " + operands + desc.nodes[i].made_at());
  }
  plan.chains.clear();
  return std::make_shared<const ExecutionPlan>(std::move(plan));
}

}  // namespace heddle
