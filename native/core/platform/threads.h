// Finds the CPUs of this process, and restricts threads to some of them.
#pragma once
#include <vector>

namespace heddle {

// Returns the CPUs that the process may run on, in order. Empty if unknown, or if the system does not pin threads.
std::vector<int> read_allowed_cpus();
// Returns the number of CPUs for compute, at least one. On a system with fast and slow cores it counts only the fast
// cores.
int fast_cpus();
// Restricts this thread to the CPUs. Does nothing where the system does not pin threads.
void pin_thread(const std::vector<int>& cpus);
// Gives this thread the scheduling class for work that a user waits for, where the system has such classes.
void mark_compute_thread();
// Returns the process's id, by which a forked child notices that it has no workers. 0 where processes do not fork.
long process_id();

}  // namespace heddle
