#include "core/platform/posix/file_status.h"

namespace heddle {

bool file_status(int descriptor, struct stat& status) { return ::fstat(descriptor, &status) == 0; }

}  // namespace heddle
