// How much of this machine's processors the process may use.
#pragma once
#include <string>
#include <vector>

namespace heddle {

// CPUs that this process may run on, in order; empty where unknown.
const std::vector<int>& allowed_cpus();

// Threads of compute that the process has room for, at least one: its CPUs, or fewer where a control group gives it
// less of their time. A container's `--cpus`, or a pod's limit, is such a group: more threads than it pays for would
// stand still together.
int usable_cpus();

// CPUs' worth of time that the control groups of the process leave it; 0 where none says. `root`: where /proc and /sys
// lie.
double cpu_quota(const std::string& root);

}  // namespace heddle
