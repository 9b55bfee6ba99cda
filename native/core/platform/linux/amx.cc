#include "core/platform/amx.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>

namespace heddle {

#if defined(__x86_64__)
namespace {
constexpr long supported = 0x1021, request = 0x1023;  // ARCH_GET_XCOMP_SUPP, ARCH_REQ_XCOMP_PERM
constexpr long tile_data = 18;                        // XFEATURE_XTILEDATA
}  // namespace

bool keeps_tiles() {
  uint64_t kept = 0;
  return syscall(SYS_arch_prctl, supported, &kept) == 0 && kept >> tile_data & 1;
}

bool allow_tiles() { return syscall(SYS_arch_prctl, request, tile_data) == 0; }
#else
bool keeps_tiles() { return false; }
bool allow_tiles() { return false; }
#endif

}  // namespace heddle
