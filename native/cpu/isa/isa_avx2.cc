// AVX2 + FMA + F16C; compile with -mavx2 -mfma -mf16c. Without these instructions the file is empty.
#if defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
#define HEDDLE_ISA isa_avx2
#define HEDDLE_SIMD_AVX2 1
#include "cpu/isa/isa-inl.h"
HEDDLE_KERNEL_TABLE(avx2, "avx2")
#endif
