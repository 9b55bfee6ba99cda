// The kernels that dot products of 8-bit integers change: products of quantized weights and 8-bit activations. The
// instruction set that this one extends computes products with activations that are not rounded (below-inl.h).
#pragma once
#include "cpu/isa/below-inl.h"
#include "cpu/isa/kernels.h"
#include "cpu/quant/quant_int8-inl.h"

namespace heddle {
namespace HEDDLE_ISA {

inline size_t integer_linear_scratch(const QuantLinear& p, int threads) {
  return p.int8 ? int8_linear_scratch(p, threads) : below.quant_linear_scratch(p, threads);
}
inline void integer_linears(const QuantLinear* p, int count, Pool& pool, void* scratch) {
  int8_linears(p, count, pool, scratch, below.quant_linear);
}
inline void integer_linear(const QuantLinear& p, Pool& pool, void* scratch) { integer_linears(&p, 1, pool, scratch); }

inline void with_integers(cpu::Kernels& k) {
  k.quant_linear_scratch = integer_linear_scratch, k.quant_linear = integer_linear, k.quant_linears = integer_linears;
  k.quant_packed_bytes = quant_packed_bytes, k.quant_pack = quant_pack;
}

}  // namespace HEDDLE_ISA
}  // namespace heddle
