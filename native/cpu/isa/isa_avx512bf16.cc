// AVX-512 with dot products of bfloat16 pairs (BF16: Cooper Lake, Zen 4 and later), for products of bf16 and for
// attention. All other kernels are those of AVX-512. Compile as isa_avx512.cc plus -mavx512bf16. Without these
// instructions the file is empty.
#if (defined(__AVX512BF16__) && defined(__AVX512VNNI__)) || defined(HEDDLE_EMULATE_AVX512)
#define HEDDLE_ISA isa_avx512bf16
#define HEDDLE_SIMD_AVX512 1
#define HEDDLE_SIMD_BF16 1
#include "cpu/isa/pairs-inl.h"

namespace heddle {
namespace cpu {

void with_avx512bf16(Kernels& k) {
  HEDDLE_ISA::below = k;
  k.name = "avx512bf16";
  HEDDLE_ISA::with_pairs(k);
}

}  // namespace cpu
}  // namespace heddle
#endif
