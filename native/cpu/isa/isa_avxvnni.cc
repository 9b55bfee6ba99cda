// AVX2 with the dot product of 8-bit integers (AVX-VNNI: Alder Lake, Zen 5 and later), for products of quantized
// weights and 8-bit activations. All other kernels are those of AVX2. Compile with -mavx2 -mfma -mf16c -mavxvnni. Tests
// on machines without it use -DHEDDLE_EMULATE_VNNI -mavx2 -mfma -mf16c. Without these instructions the file is empty.
#if defined(__AVXVNNI__) || defined(HEDDLE_EMULATE_VNNI)
#define HEDDLE_ISA isa_avxvnni
#define HEDDLE_SIMD_AVX2 1
#define HEDDLE_SIMD_VNNI 1
#include "cpu/isa/kernels.h"
#include "cpu/quant/quant_int8-inl.h"

namespace heddle {
namespace HEDDLE_ISA {

static size_t linear_scratch(const QuantLinear& p, int threads) {
  return p.int8 ? int8_linear_scratch(p, threads) : cpu::kernels_avx2.quant_linear_scratch(p, threads);
}
static void linears(const QuantLinear* p, int count, Pool& pool, void* scratch) {
  int8_linears(p, count, pool, scratch, cpu::kernels_avx2.quant_linear);
}
static void linear(const QuantLinear& p, Pool& pool, void* scratch) { linears(&p, 1, pool, scratch); }

}  // namespace HEDDLE_ISA

namespace cpu {

void with_avxvnni(Kernels& k) {
  k.name = "avxvnni";
  k.quant_linear_scratch = HEDDLE_ISA::linear_scratch, k.quant_linear = HEDDLE_ISA::linear,
  k.quant_linears = HEDDLE_ISA::linears;
  k.quant_packed_bytes = HEDDLE_ISA::quant_packed_bytes, k.quant_pack = HEDDLE_ISA::quant_pack;
}

}  // namespace cpu
}  // namespace heddle
#endif
