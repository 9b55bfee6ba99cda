// Attention over whole sequences: a task per (sequence, head, block of queries).
#pragma once
#include "cpu/flash-inl.h"

namespace heddle {
namespace HEDDLE_ISA {

using cpu::Attention;

inline size_t attention_scratch(const Attention& a, int threads) {
  return sizeof(float) * static_cast<size_t>(flash_floats(a.width)) * static_cast<size_t>(threads);
}

inline int64_t element_bytes(DType t) { return t == DType::f32 || t == DType::i32 ? 4 : t == DType::u8 ? 1 : 2; }
inline const void* element(const void* p, DType t, int64_t i) { return static_cast<const char*>(p) + i * element_bytes(t); }
inline void* element(void* p, DType t, int64_t i) { return static_cast<char*>(p) + i * element_bytes(t); }

inline void attention(const Attention& a, Pool& pool, void* scratch) {
  int64_t blocks = ceil_div(a.length, query_block), group = a.heads / a.kv_heads;
  int64_t q_stride = a.heads * a.width, kv_stride = a.kv_heads * a.width;
  pool.run(a.batch * a.heads * blocks, [&](int64_t t, int thread) {
    // The block is the slowest index and runs backwards: the longest tasks of a causal mask come first.
    int64_t block = blocks - 1 - t / (a.batch * a.heads), head = t % a.heads, sequence = t / a.heads % a.batch;
    int64_t row = sequence * a.length + block * query_block;
    int64_t kv = sequence * a.length * kv_stride + head / group * a.width, qo = row * q_stride + head * a.width;
    FlashBlock b{element(a.q, a.type, qo), a.type, q_stride, min_of(query_block, a.length - block * query_block), block * query_block,
                 element(a.k, a.type, kv), element(a.v, a.type, kv), a.type, kv_stride, a.length, a.width,
                 {a.causal, a.window}, a.scale, a.softcap,
                 element(a.o, a.type, qo), q_stride, a.lse ? a.lse + row * a.heads + head : nullptr, a.heads};
    flash_forward(b, static_cast<float*>(scratch) + thread * flash_floats(a.width));
  });
}

}  // namespace HEDDLE_ISA
}  // namespace heddle
