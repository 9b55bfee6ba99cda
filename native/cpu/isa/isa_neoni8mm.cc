// NEON with matrix products of bytes (i8mm) and of bfloat16 (bf16). Both are mandatory from Armv8.6 on. Apple M2,
// Graviton 3 and AmpereOne have them. Processors have both or neither. All other kernels are those of NEON. If the
// compiler does not target these instructions, this file is empty.
#if defined(__aarch64__) && defined(__ARM_FEATURE_DOTPROD) && defined(__ARM_FEATURE_MATMUL_INT8) && \
    defined(__ARM_FEATURE_BF16_VECTOR_ARITHMETIC)
#define HEDDLE_ISA isa_neoni8mm
#define HEDDLE_SIMD_DOT 1
#define HEDDLE_SIMD_I8MM 1
#define HEDDLE_SIMD_BF16 1
#include "cpu/isa/integers-inl.h"
#include "cpu/isa/pairs-inl.h"

namespace heddle {
namespace cpu {

void with_neoni8mm(Kernels& k) {
  HEDDLE_ISA::below = k;
  k.name = "neoni8mm";
  HEDDLE_ISA::with_pairs(k);
  HEDDLE_ISA::with_integers(k);
}

}  // namespace cpu
}  // namespace heddle
#endif
