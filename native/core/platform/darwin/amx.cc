// No Mac has a processor with Intel's AMX.
#include "core/platform/amx.h"

namespace heddle {

bool keeps_tiles() { return false; }
bool allow_tiles() { return false; }

}  // namespace heddle
