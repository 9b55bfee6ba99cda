#include "runtime/plan/passes.h"

namespace heddle {

// A product fuses a later `add` if the sum is stored in the memory of the other addend, and no other node reads the
// product. The addition then happens when the product runs. Until the `add`, no other node may read or write that
// memory.
void find_fused_adds(const ProgramDesc& desc, ExecutionPlan& plan) {
  const auto root = [&](int v) { return plan.values[v].root; };
  const auto in_arena = [&](int v) { return plan.values[v].offset != npos; };
  std::vector<int> readers(desc.values.size(), 0), reader(desc.values.size(), -1);
  for (size_t i = 0; i < desc.nodes.size(); ++i)
    for (int v : desc.nodes[i].inputs)
      if (v >= 0) ++readers[root(v)], reader[root(v)] = static_cast<int>(i);
  for (int v : desc.outputs) readers[root(v)] = 2;
  const auto touches = [&](const NodeDesc& n, int memory) {
    for (const std::vector<int>* values : {&n.inputs, &n.outputs})
      for (int v : *values)
        if (v >= 0 && root(v) == memory) return true;
    return false;
  };
  for (size_t i = 0; i < plan.nodes.size(); ++i) {
    const KernelDef* kernel = plan.nodes[i].kernel;
    if (!kernel || !kernel->run_onto || desc.nodes[i].outputs.size() != 1) continue;
    const int product = desc.nodes[i].outputs[0];
    if (root(product) != product || readers[product] != 1 || !in_arena(product)) continue;
    const size_t j = static_cast<size_t>(reader[product]);
    const NodeDesc& sum = desc.nodes[j];
    if (sum.op != "add" || plan.nodes[j].is_noop) continue;
    const int other = sum.inputs[sum.inputs[0] == product ? 1 : 0], memory = root(other);
    if (sum.inputs[0] != product && sum.inputs[1] != product) continue;  // it adds a view of the product
    if (memory == product || root(sum.outputs[0]) != memory || !in_arena(memory)) continue;
    if (desc.values[other].dtype != desc.values[product].dtype || touches(desc.nodes[i], memory)) continue;
    bool made = false, quiet = true;  // the other addend is computed before i, and its memory is not used until j
    for (size_t k = 0; k < i; ++k)
      for (int v : desc.nodes[k].outputs) made |= v == other;
    for (size_t k = i + 1; k < j; ++k) quiet = quiet && !touches(desc.nodes[k], memory);
    if (made && quiet) plan.nodes[i].fused_add = j;
  }
}

}  // namespace heddle
