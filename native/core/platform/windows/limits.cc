// A container or a service of Windows runs in a job, which may limit it.
#include "core/platform/limits.h"

#include <algorithm>
#include <cstdint>

#include "core/platform/windows/api.h"

namespace heddle {

size_t available_memory(const std::string&) {
  size_t least = SIZE_MAX;
  MEMORYSTATUSEX memory{};
  memory.dwLength = sizeof memory;
  if (GlobalMemoryStatusEx(&memory)) {
    // Committed pages must fit into memory and paging file; only physical memory is fast enough.
    least = static_cast<size_t>(std::min(memory.ullAvailPhys, memory.ullAvailPageFile));
  }
  JOBOBJECT_EXTENDED_LIMIT_INFORMATION job{};
  if (QueryInformationJobObject(nullptr, JobObjectExtendedLimitInformation, &job, sizeof job, nullptr) &&
      (job.BasicLimitInformation.LimitFlags & JOB_OBJECT_LIMIT_JOB_MEMORY)) {
    // The system reports only the peak use of a job. The memory in use now may be less.
    least =
        std::min(least, static_cast<size_t>(job.JobMemoryLimit - std::min(job.PeakJobMemoryUsed, job.JobMemoryLimit)));
  }
  return least;
}

double cpu_quota(const std::string&) {
  JOBOBJECT_CPU_RATE_CONTROL_INFORMATION job{};
  constexpr DWORD hard = JOB_OBJECT_CPU_RATE_CONTROL_ENABLE | JOB_OBJECT_CPU_RATE_CONTROL_HARD_CAP;
  if (!QueryInformationJobObject(nullptr, JobObjectCpuRateControlInformation, &job, sizeof job, nullptr) ||
      (job.ControlFlags & hard) != hard)
    return 0;
  SYSTEM_INFO system;
  GetSystemInfo(&system);
  return job.CpuRate / 10000.0 * system.dwNumberOfProcessors;  // the rate is in hundredths of a percent of all CPUs
}

}  // namespace heddle
