#include "runtime/cpus.h"

#include <cmath>
#include <fstream>
#include <thread>

#ifdef __linux__
#include <sched.h>
#include <unistd.h>
#endif

namespace heddle {
namespace {

// Read once: a thread that a pool has pinned, and every thread it starts, would see one CPU only.
std::vector<int> read_allowed_cpus() {
  std::vector<int> cpus;
#ifdef __linux__
  cpu_set_t set;
  if (sched_getaffinity(getpid(), sizeof set, &set) == 0)  // of the main thread
    for (int c = 0; c < CPU_SETSIZE; ++c)
      if (CPU_ISSET(c, &set)) cpus.push_back(c);
#endif
  return cpus;
}

// Quota over period of one group; 0 where it has none ("max", -1, or no such file).
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

// The least quota of a group and those it lies in. Where a container sees only its own part of the hierarchy the path is not there,
// and what is mounted is the group itself.
template <class Quota> double least_quota(const std::string& mount, std::string path, Quota quota) {
  if (path.find("..") != std::string::npos) path.clear();  // outside of what is mounted
  double least = 0;
  while (true) {
    const double own = quota(mount + path);
    if (own > 0 && (least == 0 || own < least)) least = own;
    if (path.empty()) return least;
    path.resize(path.rfind('/') == std::string::npos ? 0 : path.rfind('/'));
  }
}

}  // namespace

const std::vector<int>& allowed_cpus() {
  static const std::vector<int> cpus = read_allowed_cpus();
  return cpus;
}

double cpu_quota(const std::string& root) {
  const std::string mounts = root + "/sys/fs/cgroup";
  std::ifstream groups(root + "/proc/self/cgroup");
  double least = 0;
  for (std::string line; std::getline(groups, line);) {  // number:controllers:path, without controllers in the unified hierarchy
    const size_t first = line.find(':'), second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    std::string path = line.substr(second + 1);
    if (path == "/") path.clear();
    double own = 0;
    if (controllers.empty()) own = least_quota(mounts, path, unified_quota);
    else if (("," + controllers + ",").find(",cpu,") != std::string::npos) {
      own = least_quota(mounts + "/" + controllers, path, legacy_quota);
      if (own == 0) own = least_quota(mounts + "/cpu", path, legacy_quota);
    }
    if (own > 0 && (least == 0 || own < least)) least = own;
  }
  return least;
}

int usable_cpus() {
  static const int usable = [] {
    const int cpus = allowed_cpus().empty() ? static_cast<int>(std::thread::hardware_concurrency()) : static_cast<int>(allowed_cpus().size());
    const double quota = cpu_quota("");
    const int most = quota > 0 && quota < cpus ? static_cast<int>(std::ceil(quota)) : cpus;
    return most < 1 ? 1 : most;
  }();
  return usable;
}

}  // namespace heddle
