// AMX is untested on Windows, so it is disabled, and AVX-512 kernels run instead.
#include "core/platform/amx.h"

namespace heddle {

bool keeps_tiles() { return false; }
bool allow_tiles() { return false; }

}  // namespace heddle
