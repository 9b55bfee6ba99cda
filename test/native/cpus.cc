// What a process is left of its CPUs, by trees of files as control groups lay them out.
#include "runtime/cpus.h"

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

using namespace heddle;

namespace {

int cases = 0, failures = 0;

struct File {
  const char *path, *text;
};

void expect(const char* what, std::initializer_list<File> files, double want) {
  std::string name = (std::filesystem::temp_directory_path() / "heddle-cpus-XXXXXX").string();
  if (!mkdtemp(name.data())) std::abort();
  const std::filesystem::path root = name;
  for (const File& f : files) {
    const std::filesystem::path path = root.string() + f.path;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << f.text;
  }
  const double got = cpu_quota(root.string());
  std::filesystem::remove_all(root);
  ++cases;
  if (got == want) return;
  std::printf("FAILED %s: expected %g, got %g\n", what, want, got);
  ++failures;
}

}  // namespace

int main() {
  const char *groups = "/proc/self/cgroup", *mount = "/sys/fs/cgroup/cpu.max";
  expect("no control groups", {}, 0);
  expect("a container that sees its own group as the root", {{groups, "0::/\n"}, {mount, "150000 100000\n"}}, 1.5);
  expect("no limit", {{groups, "0::/\n"}, {mount, "max 100000\n"}}, 0);
  expect("a group and those above it: the least counts",
         {{groups, "0::/kubepods/pod1/main\n"},
          {"/sys/fs/cgroup/kubepods/cpu.max", "max 100000\n"},
          {"/sys/fs/cgroup/kubepods/pod1/cpu.max", "200000 100000\n"},
          {"/sys/fs/cgroup/kubepods/pod1/main/cpu.max", "400000 100000\n"}},
         2);
  expect("a group outside of what is mounted", {{groups, "0::/../other\n"}, {mount, "300000 100000\n"}}, 3);
  expect("controllers of their own, side by side",
         {{groups, "9:name=systemd:/\n3:cpuset:/box\n2:cpu,cpuacct:/box\n"},
          {"/sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_quota_us", "50000\n"},
          {"/sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_period_us", "100000\n"}},
         .5);
  expect("the same where the path is the host's",
         {{groups, "1:cpu:/docker/0123\n"}, {"/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "250000\n"}, {"/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n"}}, 2.5);
  expect("the same without a limit",
         {{groups, "1:cpu:/\n"}, {"/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n"}, {"/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n"}}, 0);
  expect("another controller's group", {{groups, "1:cpuset:/\n"}, {"/sys/fs/cgroup/cpuset/cpu.cfs_quota_us", "100000\n"}, {"/sys/fs/cgroup/cpuset/cpu.cfs_period_us", "100000\n"}}, 0);
  expect("nonsense", {{groups, "\n:\n0:\nx\n0::\n"}, {mount, "lots 0 \n"}}, 0);
  expect("a period of nothing", {{groups, "0::/\n"}, {mount, "100000 0\n"}}, 0);
  if (usable_cpus() < 1 || (!allowed_cpus().empty() && usable_cpus() > static_cast<int>(allowed_cpus().size()))) {
    std::printf("FAILED usable_cpus: expected 1 to %zu, got %d\n", allowed_cpus().size(), usable_cpus());
    ++failures;
  }
  std::printf("cpus: %d cases, %d failures\n", cases, failures);
  return failures != 0;
}
