#include "core/platform/limits.h"

#include <mach/mach.h>
#include <unistd.h>

#include <cstdint>

namespace heddle {

size_t available_memory(const std::string&) {
  vm_statistics64_data_t pages;
  mach_msg_type_number_t count = HOST_VM_INFO64_COUNT;
  if (host_statistics64(mach_host_self(), HOST_VM_INFO64, reinterpret_cast<host_info64_t>(&pages), &count) !=
      KERN_SUCCESS)
    return SIZE_MAX;
  // The system reclaims inactive pages when memory is short, so they count as available.
  const uint64_t left = uint64_t{pages.free_count} + pages.inactive_count + pages.purgeable_count;
  return static_cast<size_t>(left * static_cast<uint64_t>(getpagesize()));
}

double cpu_quota(const std::string&) { return 0; }  // macOS has none

}  // namespace heddle
