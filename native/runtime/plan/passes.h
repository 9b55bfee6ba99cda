// The passes that build an ExecutionPlan. Each is a function of the program's description and of what the passes before
// it have found.
#pragma once
#include <memory>
#include <vector>

#include "core/memory.h"
#include "runtime/plan/execution_plan.h"
#include "runtime/program_desc.h"

namespace heddle {

class Accelerator;

// Runs all passes for the CPU. Throws on any inconsistency of the description.
std::shared_ptr<const ExecutionPlan> build_plan(const ProgramDesc& desc);

// When a value needs memory: from its writer, node `first`, to its last reader, node `last`, inclusive. Only entries of
// roots count.
struct Lifetime {
  int first = -1, last = -1;
  bool in_arena = false;
  bool is_output = false;  // it must survive the last node
};

// 1. Checks the description and picks an op and a kernel for each node.
void check_nodes(const ProgramDesc& desc, ExecutionPlan& plan);
// 2. Lets views share the memory of their operand, and outputs of ops that allow it the memory of a dying operand.
std::vector<Lifetime> share_memory(const ProgramDesc& desc, ExecutionPlan& plan);
// 3. Computes a value that is only assigned to a bound tensor directly in the tensor.
void elide_assigns(const ProgramDesc& desc, ExecutionPlan& plan, std::vector<Lifetime>& lifetimes);
// 4. Finds chains of row-wise nodes. Extends lifetimes: blocks of rows are at different nodes at one time.
void find_row_chains(const ProgramDesc& desc, ExecutionPlan& plan, std::vector<Lifetime>& lifetimes);
// 5. Gives each value its place in the arena, and each input its place in the executable's storage.
void place_values(const ProgramDesc& desc, ExecutionPlan& plan, const std::vector<Lifetime>& lifetimes);
// 6. Groups adjacent products of one operand by several weights.
void find_groups(const ProgramDesc& desc, ExecutionPlan& plan);
// 7. Finds products whose kernel can add them to what a later node would add them to.
void find_fused_adds(const ProgramDesc& desc, ExecutionPlan& plan);
// 8. Finds the weight that each node should announce for prefetching.
void find_streams(const ProgramDesc& desc, ExecutionPlan& plan);

// The same plan with an accelerator's kernels. Nodes run one by one there. Throws UNSUPPORTED, naming the op, where the
// accelerator has no kernel for a node.
std::shared_ptr<const ExecutionPlan> plan_for(
    const Accelerator& accelerator, const ProgramDesc& desc, ExecutionPlan plan);

// An operand that its node's kernel wants in a packed form.
struct PackedOperand {
  size_t node;
  Storage* storage;
  Packing packing;
  std::shared_ptr<Storage> form = nullptr;  // null until it is whole
  bool due = false;                         // an earlier run has read the weight
};
// Finds the operands to pack. Depends on the bound tensors: a tensor that some node reads as stored is not packed.
std::vector<PackedOperand> find_packings(
    const ProgramDesc& desc, const ExecutionPlan& plan, const std::vector<std::shared_ptr<Storage>>& bound);

}  // namespace heddle
