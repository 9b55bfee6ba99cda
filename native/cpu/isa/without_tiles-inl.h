// The table that matrix tiles stand above: what takes the products that are not for them.
#pragma once
#include "cpu/isa/kernels.h"

namespace heddle {
namespace HEDDLE_ISA {

inline cpu::Kernels without_tiles;

}  // namespace HEDDLE_ISA
}  // namespace heddle
