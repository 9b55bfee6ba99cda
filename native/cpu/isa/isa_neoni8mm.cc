// NEON with matrix products of bytes (i8mm) and of bfloat16 (bf16). Both are mandatory from Armv8.6 on. Apple M2,
// Graviton 3 and AmpereOne have them. Processors have both or neither. If the compiler does not target them, this file
// is empty.
#if defined(__aarch64__) && defined(__ARM_FEATURE_DOTPROD) && defined(__ARM_FEATURE_MATMUL_INT8) && \
    defined(__ARM_FEATURE_BF16_VECTOR_ARITHMETIC)
#define HEDDLE_ISA isa_neoni8mm
#define HEDDLE_SIMD_DOT 1
#define HEDDLE_SIMD_I8MM 1
#define HEDDLE_SIMD_BF16 1
#include "cpu/isa/isa-inl.h"
HEDDLE_KERNEL_TABLE(neoni8mm, "neoni8mm")
#endif
