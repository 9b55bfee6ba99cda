#include "core/platform/linux/control_groups.h"

#include <fstream>

namespace heddle {

void visit_control_groups(const std::string& root, const std::string& controller,
    const std::function<void(const std::string&, bool)>& visit) {
  const std::string mounts = root + "/sys/fs/cgroup";
  // In a container with its own cgroup namespace the path may not exist. The mounted folder is then the group itself.
  const auto upwards = [&](const std::string& mount, std::string path, bool unified) {
    if (path == "/" || path.find("..") != std::string::npos) path.clear();  // the root, or a group outside the mount
    for (;; path.resize(path.rfind('/') == std::string::npos ? 0 : path.rfind('/'))) {
      visit(mount + path, unified);
      if (path.empty()) return;
    }
  };
  std::ifstream groups(root + "/proc/self/cgroup");
  // Each line is number:controllers:path. The unified hierarchy has no controllers.
  for (std::string line; std::getline(groups, line);) {
    const size_t first = line.find(':'), second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1), path = line.substr(second + 1);
    if (controllers.empty()) {
      upwards(mounts, path, true);
    } else if (("," + controllers + ",").find("," + controller + ",") != std::string::npos) {
      upwards(mounts + "/" + controllers, path, false);
      if (controllers != controller) upwards(mounts + "/" + controller, path, false);
    }
  }
}

}  // namespace heddle
