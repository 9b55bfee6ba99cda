#include "core/platform/posix/file_status.h"

#include <sys/syscall.h>
#include <unistd.h>

namespace heddle {

// Calls the kernel directly, which fills the same struct on 64-bit processors. glibc before 2.33 has no function fstat.
// A binary for these versions would contain a copy from Zig, with a separate errno in static thread-local storage. That
// storage may be full when Node loads the addon.
bool file_status(int descriptor, struct stat& status) { return ::syscall(SYS_fstat, descriptor, &status) == 0; }

}  // namespace heddle
