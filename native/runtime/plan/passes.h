// The passes that build an ExecutionPlan. Each pass is a function of the program's description and the results of
// earlier passes.
#pragma once
#include <memory>
#include <vector>

#include "core/memory.h"
#include "runtime/plan/execution_plan.h"
#include "runtime/program_desc.h"

namespace heddle {

class Accelerator;

// Runs all passes for the CPU. Throws if the description is inconsistent.
std::shared_ptr<const ExecutionPlan> build_plan(const ProgramDesc& desc);

// The nodes during which a value needs memory: from its writer `first` to its last reader `last`, inclusive. Only
// entries of roots are used.
struct Lifetime {
  int first = -1, last = -1;
  bool in_arena = false;
  bool is_output = false;  // must survive the last node
};

// 1. Checks the description and picks an op and a kernel for each node.
void check_nodes(const ProgramDesc& desc, ExecutionPlan& plan);
// 2. Lets views share the memory of their operand. Lets outputs reuse the memory of an operand that is not read later,
// if the op allows it.
std::vector<Lifetime> share_memory(const ProgramDesc& desc, ExecutionPlan& plan);
// 3. If a value is only assigned to a bound tensor, lets it be computed directly in that tensor.
void elide_assigns(const ProgramDesc& desc, ExecutionPlan& plan, std::vector<Lifetime>& lifetimes);
// 4. Finds chains of row-wise nodes. Extends lifetimes, because different blocks of rows are at different nodes at the
// same time.
void find_row_chains(const ProgramDesc& desc, ExecutionPlan& plan, std::vector<Lifetime>& lifetimes);
// 5. Gives each value its place in the arena, and each input its place in the executable's storage.
void place_values(const ProgramDesc& desc, ExecutionPlan& plan, const std::vector<Lifetime>& lifetimes);
// 6. Groups adjacent products of one operand with several weights.
void find_groups(const ProgramDesc& desc, ExecutionPlan& plan);
// 7. Finds products whose kernel can fuse a later addition.
void find_fused_adds(const ProgramDesc& desc, ExecutionPlan& plan);
// 8. Finds the weight that each node announces for prefetching.
void find_streams(const ProgramDesc& desc, ExecutionPlan& plan);
// 9. Finds, for each node that exchanges data with other ranks, the next such node, whose exchange it starts early.
void find_prefetches(const ProgramDesc& desc, ExecutionPlan& plan);

// Returns the plan with an accelerator's kernels, which run nodes one by one. Throws UNSUPPORTED with the name of the
// op if the accelerator has no kernel for a node.
std::shared_ptr<const ExecutionPlan> plan_for(
    const Accelerator& accelerator, const ProgramDesc& desc, ExecutionPlan plan);

// An operand that its node's kernel reads in a packed form.
struct PackedOperand {
  size_t node;
  Storage* storage;
  Packing packing;
  std::shared_ptr<Storage> form = nullptr;  // the complete packed form, or null
  bool due = false;                         // may be packed now, because an earlier run has read the weight
};
// Finds the operands to pack. Depends on the bound tensors: a tensor that some node reads in its stored layout is not
// packed.
std::vector<PackedOperand> find_packings(
    const ProgramDesc& desc, const ExecutionPlan& plan, const std::vector<std::shared_ptr<Storage>>& bound);

}  // namespace heddle
