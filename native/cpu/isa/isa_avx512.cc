// AVX-512 F+BW+VL+DQ with VNNI (Cascade Lake, Ice Lake and later; older processors use the AVX2 kernels). Compile with
// -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vnni -mavx2 -mfma -mf16c. Tests on machines without it use
// -DHEDDLE_EMULATE_AVX512 -mavx2 -mfma -mf16c and SIMDe's headers. Otherwise this file is empty.
#if (defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VL__) && defined(__AVX512DQ__) && \
     defined(__AVX512VNNI__)) || \
    defined(HEDDLE_EMULATE_AVX512)
#define HEDDLE_ISA isa_avx512
#define HEDDLE_SIMD_AVX512 1
#include "cpu/isa/isa-inl.h"
HEDDLE_KERNEL_TABLE(avx512, "avx512")
#endif
