// Tests the CPU and memory limits that a process reads from its control groups (cgroups), with fake file trees.
#include "core/platform/linux/control_groups.h"

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "core/cpus.h"
#include "core/platform/limits.h"

using namespace heddle;

namespace {

int cases = 0, failures = 0;

struct File {
  const char *path, *text;
};

// Checks the limit that `measure` reads from a root folder with these files. cpu_quota returns 0 if there is no limit.
void expect(const char* what, std::initializer_list<File> files, double want,
    double (*measure)(const std::string& root) = cpu_quota) {
  std::string name = (std::filesystem::temp_directory_path() / "heddle-cpus-XXXXXX").string();
  if (!mkdtemp(name.data())) std::abort();
  const std::filesystem::path root = name;
  for (const File& f : files) {
    const std::filesystem::path path = root.string() + f.path;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << f.text;
  }
  const double got = measure(root.string());
  std::filesystem::remove_all(root);
  ++cases;
  if (got == want) return;
  std::printf("FAILED %s: expected %g, got %g\n", what, want, got);
  ++failures;
}

#ifdef __linux__
double megabytes(const std::string& root) { return static_cast<double>(available_memory(root)) / 1e6; }

void memory_cases() {
  const char *groups = "/proc/self/cgroup", *system = "/proc/meminfo";
  const File meminfo{system, "MemTotal:  4000000 kB\nMemFree:  90000 kB\nMemAvailable:  3000000 kB\n"};
  expect("without control groups, the limit is the system's available memory", {meminfo}, 3072, megabytes);
  expect("a container: file pages are reclaimable, shared memory is not",
      {meminfo, {groups, "0::/\n"}, {"/sys/fs/cgroup/memory.max", "1000000000\n"},
          {"/sys/fs/cgroup/memory.current", "700000000\n"},
          {"/sys/fs/cgroup/memory.stat",
              "anon 200000000\nfile 500000000\nshmem 100000000\ninactive_file 100000000\nactive_file 300000000\n"}},
      700, megabytes);
  expect("no limit",
      {meminfo, {groups, "0::/\n"}, {"/sys/fs/cgroup/memory.max", "max\n"}, {"/sys/fs/cgroup/memory.current", "7\n"}},
      3072, megabytes);
  expect("a group without a limit inside a group with one",
      {meminfo, {groups, "0::/system.slice/trains.service/worker\n"},
          {"/sys/fs/cgroup/system.slice/trains.service/worker/memory.max", "max\n"},
          {"/sys/fs/cgroup/system.slice/trains.service/worker/memory.current", "10000000\n"},
          {"/sys/fs/cgroup/system.slice/trains.service/memory.max", "500000000\n"},
          {"/sys/fs/cgroup/system.slice/trains.service/memory.current", "100000000\n"}},
      400, megabytes);
  expect("usage above the limit leaves no memory",
      {meminfo, {groups, "0::/\n"}, {"/sys/fs/cgroup/memory.max", "1000\n"},
          {"/sys/fs/cgroup/memory.current", "2000\n"}},
      0, megabytes);
  expect("control groups v1",
      {meminfo, {groups, "5:memory:/docker/0123\n4:cpu,cpuacct:/docker/0123\n"},
          {"/sys/fs/cgroup/memory/memory.limit_in_bytes", "2000000000\n"},
          {"/sys/fs/cgroup/memory/memory.usage_in_bytes", "1500000000\n"},
          {"/sys/fs/cgroup/memory/memory.stat",
              "cache 1\ninactive_file 5\ntotal_inactive_file 250000000\ntotal_active_file 50000000\n"}},
      800, megabytes);
  expect("control groups v1 without a memory limit",
      {meminfo, {groups, "5:memory:/\n"}, {"/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"},
          {"/sys/fs/cgroup/memory/memory.usage_in_bytes", "1500000000\n"}},
      3072, megabytes);
  expect("malformed files are ignored",
      {{groups, "0::/\n"}, {system, "MemAvailable: much\n"}, {"/sys/fs/cgroup/memory.max", "\n"},
          {"/sys/fs/cgroup/memory.current", "x"}},
      static_cast<double>(SIZE_MAX) / 1e6, megabytes);
}
#else
void memory_cases() {}
#endif

}  // namespace

int main() {
  memory_cases();
  const char *groups = "/proc/self/cgroup", *mount = "/sys/fs/cgroup/cpu.max";
  expect("no control groups", {}, 0);
  expect("a container that sees its own group as the root", {{groups, "0::/\n"}, {mount, "150000 100000\n"}}, 1.5);
  expect("no limit", {{groups, "0::/\n"}, {mount, "max 100000\n"}}, 0);
  expect("the least limit of a group and its parents",
      {{groups, "0::/kubepods/pod1/main\n"}, {"/sys/fs/cgroup/kubepods/cpu.max", "max 100000\n"},
          {"/sys/fs/cgroup/kubepods/pod1/cpu.max", "200000 100000\n"},
          {"/sys/fs/cgroup/kubepods/pod1/main/cpu.max", "400000 100000\n"}},
      2);
  expect("a group outside the mount has the limit of the mount",
      {{groups, "0::/../other\n"}, {mount, "300000 100000\n"}}, 3);
  expect("control groups v1, with the controllers cpu and cpuacct together",
      {{groups, "9:name=systemd:/\n3:cpuset:/box\n2:cpu,cpuacct:/box\n"},
          {"/sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_quota_us", "50000\n"},
          {"/sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_period_us", "100000\n"}},
      .5);
  expect("control groups v1, where /proc has the host's path",
      {{groups, "1:cpu:/docker/0123\n"}, {"/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "250000\n"},
          {"/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n"}},
      2.5);
  expect("control groups v1 without a CPU limit",
      {{groups, "1:cpu:/\n"}, {"/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n"},
          {"/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n"}},
      0);
  expect("the group of another controller is ignored",
      {{groups, "1:cpuset:/\n"}, {"/sys/fs/cgroup/cpuset/cpu.cfs_quota_us", "100000\n"},
          {"/sys/fs/cgroup/cpuset/cpu.cfs_period_us", "100000\n"}},
      0);
  expect("malformed files are ignored", {{groups, "\n:\n0:\nx\n0::\n"}, {mount, "lots 0 \n"}}, 0);
  expect("a period of 0 is no limit", {{groups, "0::/\n"}, {mount, "100000 0\n"}}, 0);
  if (usable_cpus() < 1 || (!allowed_cpus().empty() && usable_cpus() > static_cast<int>(allowed_cpus().size()))) {
    std::printf("FAILED usable_cpus: expected 1 to %zu, got %d\n", allowed_cpus().size(), usable_cpus());
    ++failures;
  }
  std::printf("control groups: %d cases, %d failures\n", cases, failures);
  return failures != 0;
}
