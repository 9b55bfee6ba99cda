// The kernels that dot products of bf16 pairs change: matrix products, and attention, which multiplies within a kernel.
// Other kernels that multiply call the products of the active table.
#pragma once
#include "cpu/attention/attention_backward_pairs-inl.h"
#include "cpu/attention/cached_attention-inl.h"
#include "cpu/gemm/gemm_pairs-inl.h"
#include "cpu/isa/kernels.h"

namespace heddle {
namespace HEDDLE_ISA {

inline void with_pairs(cpu::Kernels& k) {
  k.bf16_pairs = true;
  k.gemm_scratch = gemm_scratch, k.gemm = gemm, k.gemms = gemms, k.gemm_ends_above = gemm_ends_above;
  k.pairs_packed_bytes = pairs_packed_bytes, k.pairs_pack = pairs_pack;
  k.attention_scratch = attention_scratch, k.attention = attention;
  k.attention_backward_scratch = attention_backward_scratch, k.attention_backward = attention_backward;
  k.cached_attention_scratch = cached_attention_scratch, k.cached_attention = cached_attention;
}

}  // namespace HEDDLE_ISA
}  // namespace heddle
