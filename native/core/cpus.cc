#include "core/cpus.h"

#include <cmath>
#include <fstream>
#include <thread>

#include "core/control_groups.h"

#ifdef __linux__
#include <sched.h>
#include <unistd.h>
#endif

namespace heddle {
namespace {

// Call once, before a pool pins threads: a pinned thread, and threads that it starts, would see one CPU only.
std::vector<int> read_allowed_cpus() {
  std::vector<int> cpus;
#ifdef __linux__
  cpu_set_t set;
  if (sched_getaffinity(getpid(), sizeof set, &set) == 0)  // affinity of the main thread
    for (int c = 0; c < CPU_SETSIZE; ++c)
      if (CPU_ISSET(c, &set)) cpus.push_back(c);
#endif
  return cpus;
}

// Returns quota / period of a group, or 0 without a limit ("max", -1, or no such file).
double quota_of(double quota, double period) { return quota > 0 && period > 0 ? quota / period : 0; }
double unified_quota(const std::string& group) {
  std::ifstream file(group + "/cpu.max");
  double quota = 0, period = 0;
  return file >> quota >> period ? quota_of(quota, period) : 0;
}
double legacy_quota(const std::string& group) {
  std::ifstream quota_file(group + "/cpu.cfs_quota_us"), period_file(group + "/cpu.cfs_period_us");
  double quota = 0, period = 0;
  return quota_file >> quota && period_file >> period ? quota_of(quota, period) : 0;
}

}  // namespace

const std::vector<int>& allowed_cpus() {
  static const std::vector<int> cpus = read_allowed_cpus();
  return cpus;
}

double cpu_quota(const std::string& root) {
  double least = 0;
  visit_control_groups(root, "cpu", [&](const std::string& group, bool unified) {
    const double own = unified ? unified_quota(group) : legacy_quota(group);
    if (own > 0 && (least == 0 || own < least)) least = own;
  });
  return least;
}

int usable_cpus() {
  static const int usable = [] {
    const int cpus = allowed_cpus().empty() ? static_cast<int>(std::thread::hardware_concurrency())
                                            : static_cast<int>(allowed_cpus().size());
    const double quota = cpu_quota("");
    const int most = quota > 0 && quota < cpus ? static_cast<int>(std::ceil(quota)) : cpus;
    return most < 1 ? 1 : most;
  }();
  return usable;
}

}  // namespace heddle
