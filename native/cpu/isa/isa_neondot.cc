// NEON with the dot product of four bytes (dotprod: Armv8.2 and later, such as Apple M1, Graviton 2 and Ampere Altra),
// for products of quantized weights and 8-bit activations. All other kernels are those of NEON. Without these
// instructions the file is empty.
#if defined(__aarch64__) && defined(__ARM_FEATURE_DOTPROD)
#define HEDDLE_ISA isa_neondot
#define HEDDLE_SIMD_DOT 1
#include "cpu/isa/kernels.h"
#include "cpu/quant/quant_int8-inl.h"

namespace heddle {
namespace HEDDLE_ISA {

static size_t linear_scratch(const QuantLinear& p, int threads) {
  return p.int8 ? int8_linear_scratch(p, threads) : cpu::kernels_neon.quant_linear_scratch(p, threads);
}
static void linears(const QuantLinear* p, int count, Pool& pool, void* scratch) {
  int8_linears(p, count, pool, scratch, cpu::kernels_neon.quant_linear);
}
static void linear(const QuantLinear& p, Pool& pool, void* scratch) { linears(&p, 1, pool, scratch); }

}  // namespace HEDDLE_ISA

namespace cpu {

void with_neondot(Kernels& k) {
  k.name = "neondot";
  k.quant_linear_scratch = HEDDLE_ISA::linear_scratch, k.quant_linear = HEDDLE_ISA::linear,
  k.quant_linears = HEDDLE_ISA::linears;
}

}  // namespace cpu
}  // namespace heddle
#endif
