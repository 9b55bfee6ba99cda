// The number of CPUs that the process may use.
#pragma once
#include <vector>

namespace heddle {

// Returns the CPUs that this process may run on, in order. Empty if unknown, or if the system does
// not pin threads.
const std::vector<int>& allowed_cpus();

// Returns the number of compute threads to use, at least one: the CPUs of the process, or fewer if a control group
// limits its CPU time. A container's `--cpus` or a pod's limit is such a group. The system would suspend more threads
// than it allows together.
int usable_cpus();

}  // namespace heddle
