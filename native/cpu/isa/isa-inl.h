// The function table of one instruction set, from the algorithms compiled in its namespace.
#pragma once
#include "cpu/attention/attention-inl.h"
#include "cpu/attention/attention_backward_pairs-inl.h"
#include "cpu/attention/cached_attention-inl.h"
#include "cpu/gemm/gemm-inl.h"
#include "cpu/isa/kernels.h"
#include "cpu/rows/logits-inl.h"
#include "cpu/rows/logprob_gradient-inl.h"
#include "cpu/quant/quant-inl.h"
#include "cpu/quant/quantize-inl.h"
#include "cpu/rows/rows-inl.h"

namespace heddle {
namespace HEDDLE_ISA {

inline constexpr cpu::Kernels table(const char* name) {
  cpu::Kernels k{};
  k.name = name;
  k.gemm_scratch = gemm_scratch, k.gemm = gemm, k.gemm_adds = gemm_adds, k.gemm_ends_above = gemm_ends_above,
  k.gemms = gemms;
  k.pairs_packed_bytes = pairs_packed_bytes, k.pairs_pack = pairs_pack;
  k.quant_linear_scratch = quant_linear_scratch, k.quant_linear = quant_linear, k.quant_linears = quant_linears;
  k.quant_packed_bytes = quant_packed_bytes, k.quant_pack = quant_pack;
  k.quant_backward_scratch = quant_backward_scratch, k.quant_backward = quant_backward;
  k.attention_scratch = attention_scratch, k.attention = attention;
  k.attention_backward_scratch = attention_backward_scratch, k.attention_backward = attention_backward;
  k.sinks_backward = sinks_backward;
  k.cached_attention_scratch = cached_attention_scratch, k.cached_attention = cached_attention;
  k.token_logprob_scratch = token_logprob_scratch, k.token_logprob = token_logprob;
  k.token_logprob_backward_scratch = token_logprob_backward_scratch, k.token_logprob_backward = token_logprob_backward;
  k.fused_logprob_scratch = fused_logprob_scratch, k.fused_logprob = fused_logprob;
  k.rms_norm = rms_norm, k.layer_norm = layer_norm;
  k.norm_backward_scratch = norm_backward_scratch;
  k.rms_norm_backward = rms_norm_backward, k.layer_norm_backward = layer_norm_backward;
  k.rope = rope;
  k.glu = glu, k.glu_backward = glu_backward, k.gelu = gelu, k.gelu_backward = gelu_backward;
  k.softcap = softcap, k.softcap_backward = softcap_backward;
  k.add = add_kernel, k.mul = mul_kernel, k.affine = affine, k.cast = cast, k.convert = convert,
  k.quantize = quantize_blocks;
  k.sum = sum, k.sum_squares = sum_squares, k.accumulate = accumulate;
  k.softmax = softmax, k.softmax_backward = softmax_backward;
  k.log_softmax = log_softmax, k.log_softmax_backward = log_softmax_backward, k.column_sum = column_sum;
  k.embedding = embedding, k.embedding_backward = embedding_backward;
  k.adamw = adamw;
  k.logits_range = logits_range, k.logits_sums = logits_sums, k.logits_index = logits_index;
  return k;
}

}  // namespace HEDDLE_ISA
}  // namespace heddle

#define HEDDLE_KERNEL_TABLE(isa, name) \
  namespace heddle { \
  namespace cpu { \
  extern const Kernels kernels_##isa = ::heddle::HEDDLE_ISA::table(name); \
  } \
  }
