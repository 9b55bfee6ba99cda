// AVX2 with the dot product of 8-bit integers (AVX-VNNI: Alder Lake, Zen 5 and later), for products of quantized
// weights and 8-bit activations. All other kernels are those of AVX2. Compile with -mavx2 -mfma -mf16c -mavxvnni. Tests
// on machines without it use -DHEDDLE_EMULATE_VNNI -mavx2 -mfma -mf16c. Without these instructions the file is empty.
#if defined(__AVXVNNI__) || defined(HEDDLE_EMULATE_VNNI)
#define HEDDLE_ISA isa_avxvnni
#define HEDDLE_SIMD_AVX2 1
#define HEDDLE_SIMD_VNNI 1
#include "cpu/isa/integers-inl.h"

namespace heddle {
namespace cpu {

void with_avxvnni(Kernels& k) {
  HEDDLE_ISA::below = k;
  k.name = "avxvnni";
  HEDDLE_ISA::with_integers(k);
}

}  // namespace cpu
}  // namespace heddle
#endif
