// macOS places threads by their quality of service, and offers no pinning.
#include "core/platform/threads.h"

#include <pthread/qos.h>
#include <sys/sysctl.h>
#include <unistd.h>

#include <algorithm>
#include <thread>

namespace heddle {

std::vector<int> read_allowed_cpus() { return {}; }

int fast_cpus() {
  // Performance level 0 is the fastest kind of core. The key is missing on processors with one kind.
  int cpus = 0;
  size_t bytes = sizeof cpus;
  if (sysctlbyname("hw.perflevel0.logicalcpu", &cpus, &bytes, nullptr, 0) == 0 && cpus > 0) return cpus;
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

void pin_thread(const std::vector<int>&) {}

// Threads of a lower class may be placed on efficiency cores.
void mark_compute_thread() { pthread_set_qos_class_self_np(QOS_CLASS_USER_INITIATED, 0); }

long process_id() { return getpid(); }

}  // namespace heddle
