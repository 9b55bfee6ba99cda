// Instructions of arm64 processors beyond Armv8.0.
#pragma once

namespace heddle {

enum class ArmFeature {
  dotprod,  // products of four bytes (Armv8.2)
  i8mm,     // matrix products of bytes (Armv8.6)
  bf16,     // matrix products of bfloat16 (Armv8.6)
};

// Whether this processor has the instructions and the system lets programs use them. Defined on arm64 alone.
bool has_arm_feature(ArmFeature feature);

}  // namespace heddle
