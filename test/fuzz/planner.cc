// Plans memory for values of arbitrary sizes and lifetimes. Values that are live at the same time must not overlap.
#include "fuzz.h"
#include "runtime/plan/planner.h"

using namespace heddle;
using namespace heddle::fuzz;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Input in(data, size);
  const size_t guard = in.ConsumeBool() ? 64 : 0;
  const bool huge = in.ConsumeBool();
  std::vector<Interval> values;
  while (in.remaining_bytes() > 0 && values.size() < 100) {
    const int first = in.ConsumeIntegralInRange<int>(0, 30), last = first + in.ConsumeIntegralInRange<int>(0, 30);
    values.push_back({huge ? in.ConsumeIntegral<size_t>() : in.ConsumeIntegralInRange<size_t>(0, 1000), first, last});
  }
  MemoryPlan plan;
  if (!accepts([&] { plan = plan_memory(values, guard); })) {
    require(huge, "values of ordinary sizes have a plan");
    return 0;
  }
  require(plan.offsets.size() == values.size(), "every value has an offset");
  for (size_t i = 0; i < values.size(); ++i) {
    const size_t begin = plan.offsets[i], end = begin + values[i].bytes + guard;
    require(begin % 64 == 0 && end >= begin && end <= plan.bytes, "a value lies within the arena");
    for (size_t j = 0; j < i; ++j) {
      const bool together = values[i].first <= values[j].last && values[j].first <= values[i].last;
      const size_t other = plan.offsets[j], other_end = other + values[j].bytes + guard;
      require(!together || begin >= other_end || other >= end, "values that are live at once do not overlap");
    }
  }
  return 0;
}
