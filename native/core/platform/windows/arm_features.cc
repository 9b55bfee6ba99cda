#if defined(__aarch64__) || defined(_M_ARM64)
#include "core/platform/arm_features.h"

#include <windows.h>

namespace heddle {

// Numbers of winnt.h, which older SDKs lack.
bool has_arm_feature(ArmFeature feature) {
  switch (feature) {
    case ArmFeature::dotprod: return IsProcessorFeaturePresent(43);  // PF_ARM_V82_DP_INSTRUCTIONS_AVAILABLE
    case ArmFeature::i8mm: return IsProcessorFeaturePresent(66);     // PF_ARM_V82_I8MM_INSTRUCTIONS_AVAILABLE
    case ArmFeature::bf16: return IsProcessorFeaturePresent(68);     // PF_ARM_V86_BF16_INSTRUCTIONS_AVAILABLE
  }
  return false;
}

}  // namespace heddle
#endif
