#include "runtime/plan/passes.h"

namespace heddle {

std::vector<PackedOperand> find_packings(
    const ProgramDesc& desc, const ExecutionPlan& plan, const std::vector<std::shared_ptr<Storage>>& bound) {
  std::vector<int> binding(desc.values.size(), -1);
  for (size_t b = 0; b < desc.bound.size(); ++b) binding[desc.bound[b]] = static_cast<int>(b);
  // Whether the tensor keeps only its stored layout, because a node reads all of it in that layout or its packing
  // requires a read-only tensor. A second layout would double the memory.
  std::vector<char> stays(desc.bound.size(), 0);
  std::vector<PackedOperand> wanted, chosen;
  for (size_t i = 0; i < plan.nodes.size(); ++i) {
    const PlannedNode& n = plan.nodes[i];
    const Packing packing = n.kernel && n.kernel->packs.describe ? n.kernel->packs.describe(n.bounds) : Packing{};
    for (size_t k = 0; k < desc.nodes[i].inputs.size(); ++k) {
      const int v = desc.nodes[i].inputs[k], b = v < 0 ? -1 : binding[plan.values[v].root];
      if (b < 0) continue;
      const bool is_weight = packing.bytes && packing.input == static_cast<int>(k) && plan.values[v].root == v;
      if (packing.read_only && bound[b]->writable()) stays[b] = 1;
      else if (is_weight) wanted.push_back({i, bound[b].get(), packing});
      else if (!n.op->lookup) stays[b] = 1;
    }
  }
  for (PackedOperand& p : wanted) {
    bool kept = false;
    for (size_t b = 0; b < bound.size(); ++b) kept |= bound[b].get() == p.storage && stays[b];
    if (!kept) chosen.push_back(std::move(p));
  }
  return chosen;
}

}  // namespace heddle
