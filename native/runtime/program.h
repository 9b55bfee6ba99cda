// A traced graph, checked and planned once. Executables run it.
#pragma once
#include <memory>

#include "runtime/plan/execution_plan.h"
#include "runtime/plan/passes.h"
#include "runtime/program_desc.h"

namespace heddle {

class Program {
 public:
  // Throws if the description is inconsistent.
  explicit Program(ProgramDesc desc) : desc_(std::move(desc)), plan_(build_plan(desc_)) {}
  Program(const Program&) = delete;  // the plan points to attributes of the description

  const ProgramDesc& desc() const { return desc_; }
  // The plan for the CPU.
  const std::shared_ptr<const ExecutionPlan>& plan() const { return plan_; }
  size_t arena_bytes() const { return plan_->arena_bytes; }

 private:
  const ProgramDesc desc_;
  const std::shared_ptr<const ExecutionPlan> plan_;
};

}  // namespace heddle
