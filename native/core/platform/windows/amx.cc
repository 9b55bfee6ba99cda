// Tiles on Windows have not been tried: kernels of AVX-512 run instead.
#include "core/platform/amx.h"

namespace heddle {

bool keeps_tiles() { return false; }
bool allow_tiles() { return false; }

}  // namespace heddle
