// The table without AMX kernels. AMX kernels use it for calls that they do not handle.
#pragma once
#include "cpu/isa/kernels.h"

namespace heddle {
namespace HEDDLE_ISA {

inline cpu::Kernels without_tiles;

}  // namespace HEDDLE_ISA
}  // namespace heddle
