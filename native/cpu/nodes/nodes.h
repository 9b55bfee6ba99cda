// Turns graph nodes into the structs of kernels.h. The files of this folder are compiled with the library's default
// flags, so they may call any function.
#pragma once
#include "cpu/isa/kernels.h"
#include "ops/op.h"

namespace heddle {
namespace cpu {

// Returns the table of the active instruction set.
const Kernels& active();

// Registers a kernel named "<isa>_<algorithm>" for `op`.
void add_kernel(const char* op, const char* algorithm, bool (*supports)(const Node&),
    size_t (*scratch)(const Node&, int threads), void (*run)(const Node&, Context&), Packs packs = {},
    RunGroup run_group = nullptr, RunOnto run_onto = nullptr, StartKernel start = nullptr);

void register_linear();
void register_quant();
void register_fp8();
void register_fp8_product();
void register_attention();
void register_logprob();
void register_norms();
void register_elementwise();
void register_rows();
void register_noise();
void register_experts();
void register_optimizer();
void register_sample();

inline bool is_activation(const Tensor& t) { return t.dtype == DType::f32 || t.dtype == DType::bf16; }
// Whether y has x's type or bf16, the types that a kernel may store.
inline bool same_or_bf16(const Tensor& x, const Tensor& y) { return y.dtype == x.dtype || y.dtype == DType::bf16; }
inline bool is_weight(const Tensor& t) {
  return t.dtype == DType::f32 || t.dtype == DType::bf16 || t.dtype == DType::f16 || is_quantized(t.dtype);
}
inline bool is_float(const Tensor& t) { return is_activation(t) || t.dtype == DType::f16; }

}  // namespace cpu
}  // namespace heddle
