#pragma once
#include <sys/stat.h>

namespace heddle {

// Fills `status` for an open file, like fstat. Returns false on failure, and errno is set.
bool file_status(int descriptor, struct stat& status);

}  // namespace heddle
