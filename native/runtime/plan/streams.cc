#include "runtime/plan/passes.h"

namespace heddle {
namespace {

constexpr size_t min_bytes = 65536;  // minimum size of a weight that is worth prefetching

}  // namespace

// Memory is idle between two products, so waiting threads prefetch the next weight.
void find_streams(const ProgramDesc& desc, ExecutionPlan& plan) {
  std::vector<char> is_bound(desc.values.size(), 0);
  for (int v : desc.bound) is_bound[v] = 1;
  WeightStream next;
  for (int twice = 0; twice < 2; ++twice)  // a program usually runs again, so the first weight follows the last
    for (size_t i = plan.nodes.size(); i-- > 0;) {
      PlannedNode& n = plan.nodes[i];
      n.next_stream = next;
      if (n.op->lookup || n.is_noop) continue;
      size_t most = min_bytes;
      for (size_t k = 0; k < desc.nodes[i].inputs.size(); ++k) {
        const int v = desc.nodes[i].inputs[k];
        if (v < 0 || !is_bound[plan.values[v].root] || n.op->writes(k) || n.bounds.in[k].bytes() < most) continue;
        most = n.bounds.in[k].bytes();
        next = {static_cast<int>(i), static_cast<int>(k)};
      }
    }
}

}  // namespace heddle
