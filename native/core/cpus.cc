#include "core/cpus.h"

#include <algorithm>
#include <cmath>

#include "core/platform/limits.h"
#include "core/platform/threads.h"

namespace heddle {

const std::vector<int>& allowed_cpus() {
  // Read once, before a pool pins threads: a pinned thread, and threads that it starts, would see one CPU only.
  static const std::vector<int> cpus = read_allowed_cpus();
  return cpus;
}

int usable_cpus() {
  static const int usable = [] {
    const int cpus = allowed_cpus().empty() ? fast_cpus() : static_cast<int>(allowed_cpus().size());
    const double quota = cpu_quota();
    return std::max(1, quota > 0 && quota < cpus ? static_cast<int>(std::ceil(quota)) : cpus);
  }();
  return usable;
}

}  // namespace heddle
