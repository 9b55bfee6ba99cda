// The control groups of Linux, which limit what a container, a pod or a service may use.
#pragma once
#include <functional>
#include <string>

namespace heddle {

// visit(folder, unified): the group in which this process is of `controller` ("cpu", "memory") and those it lies in, each by the folder
// of its files, which need not exist; `unified` where these are of the second version. `root`: where /proc and /sys lie.
void visit_control_groups(const std::string& root, const std::string& controller, const std::function<void(const std::string& folder, bool unified)>& visit);

}  // namespace heddle
