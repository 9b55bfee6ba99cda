#include "core/platform/posix/file_status.h"

#include <sys/syscall.h>
#include <unistd.h>

namespace heddle {

// glibc before 2.33 has no function fstat. A binary for older versions gets a copy from Zig, which has its own errno in
// static thread-local storage. That storage may be full when Node loads the addon. The kernel fills the same struct on
// 64-bit processors.
bool file_status(int descriptor, struct stat& status) { return ::syscall(SYS_fstat, descriptor, &status) == 0; }

}  // namespace heddle
