// NEON with the dot product of four bytes (dotprod: Armv8.2 and later, such as Apple M1, Graviton 2 and Ampere Altra),
// for products of quantized weights and 8-bit activations. All other kernels are those of NEON. Without these
// instructions the file is empty.
#if defined(__aarch64__) && defined(__ARM_FEATURE_DOTPROD)
#define HEDDLE_ISA isa_neondot
#define HEDDLE_SIMD_DOT 1
#include "cpu/isa/integers-inl.h"

namespace heddle {
namespace cpu {

void with_neondot(Kernels& k) {
  HEDDLE_ISA::below = k;
  k.name = "neondot";
  HEDDLE_ISA::with_integers(k);
}

}  // namespace cpu
}  // namespace heddle
#endif
