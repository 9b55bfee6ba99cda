// Reads the limits of the process's control groups, and the memory that the system has left.
#include "core/platform/limits.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <fstream>

#include "core/platform/linux/control_groups.h"

namespace heddle {

namespace {

// Returns the number after `key` at the start of a line in a small system file, or SIZE_MAX if it is missing.
size_t number_in(const std::string& path, const std::string& key = "") {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (line.compare(0, key.size(), key) != 0) continue;
    char* end = nullptr;
    const unsigned long long value = std::strtoull(line.c_str() + key.size(), &end, 10);
    if (end != line.c_str() + key.size()) return static_cast<size_t>(value);
  }
  return SIZE_MAX;
}

// Returns the memory that a group may still use: its limit minus its usage, not counting reclaimable file pages.
size_t left_of(const std::string& group, bool unified) {
  const size_t limit = number_in(group + (unified ? "/memory.max" : "/memory.limit_in_bytes"));
  const size_t used = number_in(group + (unified ? "/memory.current" : "/memory.usage_in_bytes"));
  if (limit == SIZE_MAX || used == SIZE_MAX) return SIZE_MAX;
  size_t files = 0;
  for (const char* name : {"inactive_file ", "active_file "}) {
    const size_t pages = number_in(group + "/memory.stat", unified ? name : std::string("total_") + name);
    if (pages != SIZE_MAX) files += pages;
  }
  const size_t held = used - std::min(files, used);
  return limit - std::min(held, limit);
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

size_t available_memory(const std::string& root) {
  const size_t kilobytes = number_in(root + "/proc/meminfo", "MemAvailable:");
  size_t least = kilobytes == SIZE_MAX ? SIZE_MAX : kilobytes * 1024;
  visit_control_groups(root, "memory",
      [&](const std::string& group, bool unified) { least = std::min(least, left_of(group, unified)); });
  return least;
}

double cpu_quota(const std::string& root) {
  double least = 0;
  visit_control_groups(root, "cpu", [&](const std::string& group, bool unified) {
    const double own = unified ? unified_quota(group) : legacy_quota(group);
    if (own > 0 && (least == 0 || own < least)) least = own;
  });
  return least;
}

}  // namespace heddle
