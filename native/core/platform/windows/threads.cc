// Windows distributes compute threads over cores and processor groups, so they are not pinned.
#include "core/platform/threads.h"

#include <algorithm>
#include <bitset>
#include <thread>

#include "core/platform/windows/api.h"

namespace heddle {

std::vector<int> read_allowed_cpus() { return {}; }

int fast_cpus() {
  const int all = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  DWORD_PTR own = 0, system = 0;
  // The masks cover one processor group, and are 0 if the process has threads in several.
  if (!GetProcessAffinityMask(GetCurrentProcess(), &own, &system) || own == 0 || own == system) return all;
  return static_cast<int>(std::bitset<64>(own).count());
}

void pin_thread(const std::vector<int>&) {}
void mark_compute_thread() {}
long process_id() { return 0; }

}  // namespace heddle
