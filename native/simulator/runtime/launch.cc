// Runs launches. With HEDDLE_SIMULATOR_PROFILE=1, prints each kernel's time when the process exits.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>

#include "simulator/machine/settings.h"
#include "simulator/runtime/state.h"

namespace simulator {
namespace {

struct Total {
  double seconds = 0;
  uint64_t launches = 0;
};
std::map<std::string, Total>& totals() {
  static auto& all = *new std::map<std::string, Total>;
  return all;
}
void print() {
  for (const auto& t : totals())
    std::fprintf(stderr, "%9.3f s %7llu  %s\n", t.second.seconds, static_cast<unsigned long long>(t.second.launches),
        t.first.c_str());
}

}  // namespace

void run_launch(Launch& launch) {
  if (!settings().profile) return run(launch);
  static const bool registered = std::atexit(&print) == 0;
  (void)registered;
  const auto begin = std::chrono::steady_clock::now();
  run(launch);
  Total& total = totals()[launch.kernel->name];
  total.seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  ++total.launches;
}

}  // namespace simulator
