// Memory and CPU time that the system, a container or a job leaves to this process.
#pragma once
#include <cstddef>
#include <string>

namespace heddle {

// Returns the bytes that the system and the process's limits can still provide without reclaiming memory in use.
// SIZE_MAX if unknown. `root` is the parent of /proc and /sys on Linux, and unused elsewhere.
size_t available_memory(const std::string& root = "");

// Returns the smallest limit on the process's CPU time, in CPUs. 0: no limit. `root` is as for available_memory.
double cpu_quota(const std::string& root = "");

}  // namespace heddle
