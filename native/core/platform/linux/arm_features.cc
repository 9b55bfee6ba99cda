#if defined(__aarch64__)
#include "core/platform/arm_features.h"

#include <sys/auxv.h>

namespace heddle {

// Bits of asm/hwcap.h. Older headers lack some.
bool has_arm_feature(ArmFeature feature) {
  switch (feature) {
    case ArmFeature::dotprod: return getauxval(AT_HWCAP) & 1ul << 20;
    case ArmFeature::i8mm: return getauxval(AT_HWCAP2) & 1ul << 13;
    case ArmFeature::bf16: return getauxval(AT_HWCAP2) & 1ul << 14;
  }
  return false;
}

}  // namespace heddle
#endif
