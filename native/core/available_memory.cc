// Computes the memory that the system and the process's control groups have left.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <fstream>

#include "core/control_groups.h"
#include "core/memory.h"

namespace heddle {

#ifdef __linux__
namespace {

// Returns the number after `key` at the start of a line in a small system file, or the largest number if it is missing.
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

}  // namespace

size_t available_memory(const std::string& root) {
  const size_t kilobytes = number_in(root + "/proc/meminfo", "MemAvailable:");
  size_t least = kilobytes == SIZE_MAX ? SIZE_MAX : kilobytes * 1024;
  visit_control_groups(root, "memory",
      [&](const std::string& group, bool unified) { least = std::min(least, left_of(group, unified)); });
  return least;
}
#else
size_t available_memory(const std::string&) { return SIZE_MAX; }
#endif

}  // namespace heddle
