#include <algorithm>

#include "runtime/plan/passes.h"
#include "runtime/plan/planner.h"

namespace heddle {
namespace {

constexpr size_t min_weight = 1 << 16;  // bytes; smaller weights are cheap to read again for every block

Packing packing_of(const PlannedNode& n) {
  return n.kernel && n.kernel->packs.describe ? n.kernel->packs.describe(n.bounds) : Packing{};
}

// Returns the mask of node i's row-local operands (OpDef::by_rows) with `rows` rows. Returns 0 if the node cannot be in
// a chain.
int row_operands(const ProgramDesc& desc, const ExecutionPlan& plan, const std::vector<Lifetime>& lifetimes, size_t i,
    int64_t rows) {
  const NodeDesc& n = desc.nodes[i];
  const PlannedNode& planned = plan.nodes[i];
  const auto goes_by_rows = [&](int v) {
    return desc.values[v].shape.rank > 0 && desc.values[v].shape.dims[0] == rows;
  };
  for (int v : n.outputs)
    if (!goes_by_rows(v)) return 0;
  if (planned.op->view) return goes_by_rows(n.inputs[0]) ? 1 : 0;
  if (!planned.op->by_rows || !planned.kernel || planned.op->mutates) return 0;
  const int mask = planned.op->by_rows(planned.bounds);
  const Packing packing = packing_of(planned);
  // A chain runs only if all its weights are packed. A weight without a packed form (a LoRA matrix) therefore rules the
  // node out.
  if (planned.kernel->packs.describe && !packing.bytes) return 0;
  for (size_t k = 0; k < n.inputs.size(); ++k) {
    const int v = n.inputs[k];
    if (v < 0) continue;
    if (mask >> k & 1) {
      if (!goes_by_rows(v)) return 0;
      continue;
    }
    // Every block reads all of this operand. It must exist before the chain, and be small or packed, so that reading it
    // again is cheap.
    const int root = plan.values[v].root;
    if (lifetimes[root].in_arena || plan.values[root].replaces_assign) return 0;
    const bool is_packed = packing.bytes && packing.input == static_cast<int>(k);
    if (planned.bounds.in[k].bytes() >= min_weight && !is_packed) return 0;
  }
  return mask;
}

// Returns the scratch of one thread's kernels for the largest block.
size_t kernel_bytes(const ExecutionPlan& plan, const RowChain& chain) {
  size_t most = 0;
  for (size_t i = chain.begin; i < chain.end; ++i) {
    const PlannedNode& n = plan.nodes[i];
    if (!n.kernel || !n.kernel->scratch || n.is_noop) continue;
    Node block = n.bounds;
    const int mask = n.op->by_rows(block);
    for (size_t k = 0; k < block.in.size(); ++k)
      if (block.has_input(k) && mask >> k & 1)
        block.in[k].shape.dims[0] = std::min(block.in[k].shape[0], chain.most_rows);
    for (Tensor& t : block.out) t.shape.dims[0] = std::min(t.shape[0], chain.most_rows);
    most = std::max(most, n.kernel->scratch(block, 1));
  }
  return padded_to_line(most);
}

}  // namespace

void find_row_chains(const ProgramDesc& desc, ExecutionPlan& plan, std::vector<Lifetime>& lifetimes) {
  std::vector<Lifetime> extended = lifetimes;
  for (size_t begin = 0, end; begin < plan.nodes.size(); begin = end) {
    end = begin + 1;
    if (plan.nodes[begin].op->view || desc.nodes[begin].outputs.empty()) continue;
    const Shape& shape = desc.values[desc.nodes[begin].outputs[0]].shape;
    if (shape.rank == 0 || !row_operands(desc, plan, lifetimes, begin, shape.dims[0])) continue;
    while (end < plan.nodes.size() && row_operands(desc, plan, lifetimes, end, shape.dims[0])) ++end;
    RowChain chain;
    chain.begin = begin, chain.end = end;
    bool has_weights = false;
    for (size_t i = begin; i < end; ++i) {
      const Packing packing = packing_of(plan.nodes[i]);
      chain.row_tile = std::max<int64_t>(chain.row_tile, packing.row_tile);
      if (!packing.bytes) continue;
      has_weights = true;
      chain.most_rows = std::max<int64_t>(chain.most_rows, packing.row_block);
      chain.min_rows = std::max<int64_t>(chain.min_rows, packing.min_rows);
    }
    if (!has_weights) continue;
    const int first = static_cast<int>(begin), last = static_cast<int>(end) - 1;
    std::vector<Interval> intervals;
    for (size_t i = begin; i < end; ++i)
      for (const std::vector<int>* values : {&desc.nodes[i].inputs, &desc.nodes[i].outputs})
        for (int v : *values) {
          if (v < 0) continue;
          const int root = plan.values[v].root;
          const Lifetime& l = lifetimes[root];
          if (!l.in_arena) continue;
          if (l.first >= first && l.last <= last && !l.is_output) {
            const auto same = [&](const RowChain::Local& local) { return local.root == root; };
            if (std::any_of(chain.locals.begin(), chain.locals.end(), same)) continue;
            const Tensor t = desc.largest(root);
            chain.locals.push_back({root, 0});
            intervals.push_back(
                {t.shape[0] > 0 ? padded_to_line(t.bytes() / static_cast<size_t>(t.shape[0])) : 0, l.first, l.last});
          } else if (l.first <= last && l.last >= first) {  // blocks are at different nodes at the same time
            extended[root].first = std::min(extended[root].first, first);
            extended[root].last = std::max(extended[root].last, last);
          }
        }
    const MemoryPlan memory = plan_memory(intervals);
    for (size_t k = 0; k < chain.locals.size(); ++k) chain.locals[k].offset = memory.offsets[k];
    chain.row_bytes = memory.bytes;
    chain.kernel_bytes = kernel_bytes(plan, chain);
    plan.chains.push_back(std::move(chain));
  }
  lifetimes = std::move(extended);
}

}  // namespace heddle
