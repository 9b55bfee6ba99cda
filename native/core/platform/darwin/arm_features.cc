#if defined(__aarch64__)
#include "core/platform/arm_features.h"

#include <sys/sysctl.h>

#include <cstddef>

namespace heddle {
namespace {

bool optional(const char* name) {
  int value = 0;
  size_t size = sizeof value;
  return sysctlbyname(name, &value, &size, nullptr, 0) == 0 && value != 0;
}

}  // namespace

bool has_arm_feature(ArmFeature feature) {
  switch (feature) {
    case ArmFeature::dotprod: return optional("hw.optional.arm.FEAT_DotProd");
    case ArmFeature::i8mm: return optional("hw.optional.arm.FEAT_I8MM");
    case ArmFeature::bf16: return optional("hw.optional.arm.FEAT_BF16");
  }
  return false;
}

}  // namespace heddle
#endif
