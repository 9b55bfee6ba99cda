// AVX-512 with dot products of bfloat16 pairs (BF16) and of 8-bit integers (VNNI). Every processor with BF16 has VNNI.
// Compile as isa_avx512.cc plus -mavx512bf16. Without these instructions the file is empty.
#if (defined(__AVX512BF16__) && defined(__AVX512VNNI__)) || defined(HEDDLE_EMULATE_AVX512)
#define HEDDLE_ISA isa_avx512bf16
#define HEDDLE_SIMD_AVX512 1
#define HEDDLE_SIMD_BF16 1
#include "cpu/isa/isa-inl.h"
HEDDLE_KERNEL_TABLE(avx512bf16, "avx512bf16")
#endif
