// The table of one instruction set, from the algorithms compiled in its namespace.
#pragma once
#include "cpu/attention-inl.h"
#include "cpu/attention_backward-inl.h"
#include "cpu/cached_attention-inl.h"
#include "cpu/gemm-inl.h"
#include "cpu/kernels.h"

namespace heddle {
namespace HEDDLE_ISA {

inline constexpr cpu::Kernels table(const char* name) {
  cpu::Kernels k{};
  k.name = name;
  k.gemm_scratch = gemm_scratch, k.gemm = gemm;
  k.attention_scratch = attention_scratch, k.attention = attention;
  k.attention_backward_scratch = attention_backward_scratch, k.attention_backward = attention_backward;
  k.cached_attention_scratch = cached_attention_scratch, k.cached_attention = cached_attention;
  return k;
}

}  // namespace HEDDLE_ISA
}  // namespace heddle

#define HEDDLE_KERNEL_TABLE(isa, name)                                \
  namespace heddle {                                                  \
  namespace cpu {                                                     \
  extern const Kernels kernels_##isa = ::heddle::HEDDLE_ISA::table(name); \
  }                                                                   \
  }
