// The number of CPUs that the process may use.
#pragma once
#include <vector>

namespace heddle {

// Returns the CPUs that this process may run on, in order. Empty if unknown, or if the system does not pin threads.
const std::vector<int>& allowed_cpus();

// Returns the number of compute threads to use, at least one: the CPUs of the process, or fewer if a control group
// limits its CPU time. Examples are a container's `--cpus` and a pod's CPU limit. If more threads ran, the system would
// suspend them for part of the time.
int usable_cpus();

}  // namespace heddle
