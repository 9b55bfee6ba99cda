// The kernels of the set that this instruction set extends. They compute the calls that the added instructions do not
// change. A set compiles only what its instructions change, because another copy of the rest would not be faster.
#pragma once
#include "cpu/isa/kernels.h"

namespace heddle {
namespace HEDDLE_ISA {

inline cpu::Kernels below;

}  // namespace HEDDLE_ISA
}  // namespace heddle
