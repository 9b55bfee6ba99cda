// Runs launches. With HEDDLE_SIMULATOR_PROFILE=1, prints each kernel's time and resources when the process exits.
#include <algorithm>
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
  uint64_t launches = 0, overlapping = 0;
  uint64_t threads = 0;  // threads and bytes of a block: the most of any launch
  uint32_t shared = 0;
  int registers = 0;
};
std::map<std::string, Total>& totals() {
  static auto& all = *new std::map<std::string, Total>;
  return all;
}
void print() {
  for (const auto& t : totals())
    std::fprintf(stderr,
        "%9.3f s %7llu launches, %7llu overlap, %4llu threads, %3d registers, %6u bytes of dynamic shared memory  %s\n",
        t.second.seconds, static_cast<unsigned long long>(t.second.launches),
        static_cast<unsigned long long>(t.second.overlapping), static_cast<unsigned long long>(t.second.threads),
        t.second.registers, t.second.shared, t.first.c_str());
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
  total.overlapping += launch.overlaps ? 1 : 0;
  total.threads = std::max(total.threads, launch.threads.volume());
  total.shared = std::max(total.shared, launch.dynamic_shared);
  total.registers = launch.kernel->registers;
}

}  // namespace simulator
