#include <cstdlib>
#include <cstring>

#include "runtime/plan/passes.h"

namespace heddle {

std::shared_ptr<const ExecutionPlan> build_plan(const ProgramDesc& desc) {
  const auto plan = std::make_shared<ExecutionPlan>();
  const char* check = std::getenv("HEDDLE_CHECK");
  plan->checking = check && *check && std::strcmp(check, "0") != 0;
  check_nodes(desc, *plan);
  std::vector<Lifetime> lifetimes = share_memory(desc, *plan);
  if (!plan->checking) {
    elide_assigns(desc, *plan, lifetimes);
    find_row_chains(desc, *plan, lifetimes);
  }
  place_values(desc, *plan, lifetimes);
  if (!plan->checking) {
    find_groups(desc, *plan);
    find_fused_adds(desc, *plan);
  }
  find_streams(desc, *plan);
  find_prefetches(desc, *plan);
  return plan;
}

}  // namespace heddle
