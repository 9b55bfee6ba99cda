// AVX-512 with AMX tiles of bf16 (Sapphire Rapids and later). AMX computes products of bf16, products of many rows by
// quantized weights, and attention. All other kernels are those of AVX-512 with bf16. Compile as isa_avx512bf16.cc plus
// -mamx-tile -mamx-bf16 -mavx512vbmi. Without these instructions the file is empty.
#if defined(__AMX_BF16__) || defined(HEDDLE_EMULATE_AVX512)
#define HEDDLE_ISA isa_amx
#define HEDDLE_SIMD_AVX512 1
#define HEDDLE_SIMD_BF16 1
#define HEDDLE_SIMD_AMX 1
#include "cpu/attention/attention_backward_tiles-inl.h"
#include "cpu/gemm/gemm_amx-inl.h"
#include "cpu/isa/kernels.h"
#include "cpu/quant/quant_tiles-inl.h"

namespace heddle {
namespace cpu {

void with_amx(Kernels& k) {
  HEDDLE_ISA::below = k;
  k.name = "amx";
  // Blocks of a chain of nodes (Packing::row_block) are larger than without AMX. Smaller blocks would keep activations
  // in the caches, but reading all weights again for each block costs more.
  k.row_tile = 32, k.row_block = 288;
  k.quant_min_rows = HEDDLE_ISA::quant_tile_rows;
  k.attention_scratch = HEDDLE_ISA::attention_tiles_scratch, k.attention = HEDDLE_ISA::attention_tiles;
  k.attention_backward_scratch = HEDDLE_ISA::attention_backward_tiles_scratch,
  k.attention_backward = HEDDLE_ISA::attention_backward_tiles;
  k.cached_attention_scratch = HEDDLE_ISA::cached_attention_tiles_scratch,
  k.cached_attention = HEDDLE_ISA::cached_attention_tiles;
  k.gemm_scratch = HEDDLE_ISA::gemm_scratch, k.gemm = HEDDLE_ISA::gemm, k.gemms = HEDDLE_ISA::gemms;
  k.quant_linear_scratch = HEDDLE_ISA::quant_linear_tiles_scratch, k.quant_linear = HEDDLE_ISA::quant_linear_tiles,
  k.quant_linears = HEDDLE_ISA::quant_linears_tiles;
}

}  // namespace cpu
}  // namespace heddle
#endif
