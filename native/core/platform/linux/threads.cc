#include "core/platform/threads.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <thread>

namespace heddle {

std::vector<int> read_allowed_cpus() {
  std::vector<int> cpus;
  cpu_set_t set;
  if (sched_getaffinity(getpid(), sizeof set, &set) == 0)  // affinity of the main thread
    for (int c = 0; c < CPU_SETSIZE; ++c)
      if (CPU_ISSET(c, &set)) cpus.push_back(c);
  return cpus;
}

int fast_cpus() { return std::max(1, static_cast<int>(std::thread::hardware_concurrency())); }

void pin_thread(const std::vector<int>& cpus) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (int c : cpus) CPU_SET(c, &set);
  sched_setaffinity(0, sizeof set, &set);  // on failure the thread stays unpinned, which is only slower
}

void mark_compute_thread() {}

long process_id() { return getpid(); }

}  // namespace heddle
