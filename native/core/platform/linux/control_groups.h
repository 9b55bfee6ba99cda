// The control groups of Linux, which limit what a container, a pod or a service may use.
#pragma once
#include <functional>
#include <string>

namespace heddle {

// Calls visit(folder, unified) for this process's group of `controller` ("cpu", "memory") and for each of its
// ancestors. `folder` has the group's files and need not exist. `unified` is true for cgroups v2. `root` is the parent
// of /proc and /sys.
void visit_control_groups(const std::string& root, const std::string& controller,
    const std::function<void(const std::string& folder, bool unified)>& visit);

}  // namespace heddle
