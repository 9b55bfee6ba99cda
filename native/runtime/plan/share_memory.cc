#include <algorithm>

#include "runtime/plan/passes.h"

namespace heddle {
namespace {

void find_last_uses(const ProgramDesc& desc, const ExecutionPlan& plan, std::vector<Lifetime>& lifetimes) {
  const int end = static_cast<int>(desc.nodes.size());
  for (Lifetime& l : lifetimes) l.last = -1;
  const auto of = [&](int v) -> Lifetime& { return lifetimes[plan.values[v].root]; };
  for (int i = 0; i < end; ++i) {
    for (int v : desc.nodes[i].inputs)
      if (v >= 0) of(v).last = i;
    for (int v : desc.nodes[i].outputs) of(v).last = std::max(of(v).last, i);
  }
  for (int v : desc.outputs) of(v).last = end, of(v).is_output = true;
}

// Returns the root of an operand whose last reader is node i and whose memory output 0 may reuse, or -1.
int operand_to_overwrite(
    const ProgramDesc& desc, const ExecutionPlan& plan, const std::vector<Lifetime>& lifetimes, int i) {
  const NodeDesc& n = desc.nodes[i];
  const OpDef& op = *plan.nodes[i].op;
  if (!op.inplace || n.outputs.empty()) return -1;
  const int out = n.outputs[0];
  for (size_t k = 0; k < n.inputs.size(); ++k) {
    const int in = n.inputs[k];
    if (!op.may_share(k) || in < 0) continue;
    const int root = plan.values[in].root;
    const Lifetime& l = lifetimes[root];
    if (!l.in_arena || l.is_output || l.last != i || !lifetimes[out].in_arena) continue;
    if (desc.values[in].dtype != desc.values[out].dtype || desc.values[in].shape != desc.values[out].shape) continue;
    bool shared = false;  // another operand with the same memory would be overwritten while it is read
    for (size_t j = 0; j < n.inputs.size(); ++j)
      shared |= j != k && n.inputs[j] >= 0 && plan.values[n.inputs[j]].root == root;
    if (!shared) return root;
  }
  return -1;
}

}  // namespace

std::vector<Lifetime> share_memory(const ProgramDesc& desc, ExecutionPlan& plan) {
  const int count = static_cast<int>(desc.values.size()), end = static_cast<int>(desc.nodes.size());
  plan.values.resize(count);
  for (int v = 0; v < count; ++v) plan.values[v].root = v;
  for (int i = 0; i < end; ++i) {
    if (!plan.nodes[i].op->view) continue;
    plan.values[desc.nodes[i].outputs[0]].root = plan.values[desc.nodes[i].inputs[0]].root;
    plan.nodes[i].is_noop = true;
  }
  std::vector<Lifetime> lifetimes(count);
  for (int i = 0; i < end; ++i)
    for (int v : desc.nodes[i].outputs)
      if (plan.values[v].root == v) lifetimes[v].in_arena = true, lifetimes[v].first = i;
  find_last_uses(desc, plan, lifetimes);
  if (plan.checking) return lifetimes;
  for (int i = 0; i < end; ++i) {
    const int root = operand_to_overwrite(desc, plan, lifetimes, i);
    if (root < 0) continue;
    const int out = desc.nodes[i].outputs[0];
    for (PlannedValue& v : plan.values)
      if (v.root == out) v.root = root;
    lifetimes[out].in_arena = false;
    find_last_uses(desc, plan, lifetimes);
  }
  return lifetimes;
}

}  // namespace heddle
