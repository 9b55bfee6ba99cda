// Attention over whole sequences. A task takes one (sequence, key/value head) and some of the blocks of queries that
// read it. It first copies the keys and values into contiguous rows, as f32 or as bf16 pairs. Rows with a stride of
// heads * width would map to few cache sets and defeat the prefetchers.
#pragma once
#include "cpu/attention/flash_pairs-inl.h"
#include "cpu/isa/below-inl.h"

namespace heddle {
namespace HEDDLE_ISA {

using cpu::Attention;

// Returns the number of floats in a thread's f32 copy of keys and values. Returns 0 if the copy would outgrow the
// caches. Each block of keys is then loaded from the operands when it is used.
inline int64_t side_floats(const Attention& a) {
  int64_t floats = 2 * a.length * a.width;
  return floats <= int64_t{1} << 20 ? round_up(floats, 32) : 0;
}

// Size of the table of document bounds: the starts of all rows' documents, then their ends. Mask reads it.
inline int64_t document_ints(const Attention& a) { return a.documents ? round_up(2 * a.batch * a.length, 16) : 0; }
inline void find_documents(const Attention& a, int32_t* starts) {
  int32_t* ends = starts + a.batch * a.length;
  for (int64_t s = 0; s < a.batch; ++s, starts += a.length, ends += a.length) {
    const int32_t* id = a.documents + s * a.length;
    for (int64_t i = 0, last = 0; i < a.length; i = last) {
      for (last = i + 1; id[i] >= 0 && last < a.length && id[last] == id[i];) ++last;
      // Padding sees nothing: an empty interval at its own position.
      for (int64_t r = i; r < last; ++r)
        starts[r] = static_cast<int32_t>(i), ends[r] = static_cast<int32_t>(id[i] < 0 ? i : last);
    }
  }
}
inline Mask mask_of(const Attention& a, const int32_t* starts, int64_t sequence) {
  Mask m{a.causal, a.window};
  if (a.documents) m.starts = starts + sequence * a.length, m.ends = m.starts + a.batch * a.length;
  return m;
}

// Floats of a thread's scratch in the forward pass: `side` for copies of keys and values, then `work` for a block.
struct ForwardPlan {
  int64_t side, work;
};
inline ForwardPlan plan_forward(const Attention& a) {
  const int64_t side = side_floats(a);
  if (!bf16_pairs) return {side, flash_floats(a.width)};
  return {side ? round_up(pair_floats(a.length, a.width), 16) : 0, flash_pair_floats(a.width)};
}
inline size_t attention_scratch(const Attention& a, int threads) {
  if (bf16_pairs && !a.pairs) return below.attention_scratch(a, threads);
  const ForwardPlan p = plan_forward(a);
  return sizeof(float) * static_cast<size_t>((p.side + p.work) * threads + document_ints(a));
}

inline float sink_of(const void* sinks, DType type, int64_t head) {
  if (!sinks) return minus_infinity;
  if (type == DType::f32) return load1(static_cast<const float*>(sinks) + head);
  if (type == DType::bf16) return load1(static_cast<const bf16*>(sinks) + head);
  return load1(static_cast<const f16*>(sinks) + head);
}

inline void attention(const Attention& a, Pool& pool, void* scratch) {
  if (bf16_pairs && !a.pairs) return below.attention(a, pool, scratch);
  int64_t owners = a.batch * a.kv_heads, group = a.heads / a.kv_heads;
  ForwardPlan plan = plan_forward(a);
  int64_t items = group * ceil_div(a.length, query_block), side = plan.side;
  int64_t q_stride = a.heads * a.width, kv_stride = a.kv_heads * a.width;
  // Every block is computed independently, so the number of shares changes no result. About four tasks per thread
  // balance the load.
  int64_t shares = owners ? min_of(items, ceil_div(4 * pool.threads(), owners)) : 0;
  if (!side) shares = items;
  int32_t* starts = static_cast<int32_t*>(scratch);
  if (a.documents) find_documents(a, starts);
  float* work = static_cast<float*>(scratch) + document_ints(a);
  pool.run(owners * shares, [&](int64_t t, int thread) {
    int64_t owner = t / shares, sequence = owner / a.kv_heads, kv_head = owner % a.kv_heads;
    int64_t kv = sequence * a.length * kv_stride + kv_head * a.width;
    float* copy = work + thread * (side + plan.work);
    const void *k = element(a.k, a.type, kv), *v = element(a.v, a.type, kv);
    DType kv_type = a.type;
    int64_t stride = kv_stride;
    const PairCopy pair_copy{copy, copy + key_floats(a.length, a.width)};
    if (side && bf16_pairs) {
      copy_pairs(k, v, a.type, kv_stride, a.length, a.width, copy, copy + key_floats(a.length, a.width));
    } else if (side) {
      load_tile(a.k, a.type, kv, kv_stride, a.length, a.width, copy, a.width);
      load_tile(a.v, a.type, kv, kv_stride, a.length, a.width, copy + a.length * a.width, a.width);
      k = copy, v = copy + a.length * a.width, kv_type = DType::f32, stride = a.width;
    }
    for (int64_t item = t % shares; item < items; item += shares) {
      int64_t head = kv_head * group + item % group, position = item / group * query_block;
      int64_t row = sequence * a.length + position, qo = row * q_stride + head * a.width;
      FlashBlock b{element(a.q, a.type, qo), a.type, q_stride, min_of(query_block, a.length - position), position, k, v,
          kv_type, stride, a.length, a.width, mask_of(a, starts, sequence), a.scale, a.softcap,
          element(a.o, a.o_type, qo), a.o_type, q_stride, a.lse ? a.lse + row * a.heads + head : nullptr, a.heads,
          sink_of(a.sinks, a.sinks_type, head)};
      if constexpr (bf16_pairs) flash_forward_pairs(b, side ? &pair_copy : nullptr, copy + side);
      else flash_forward(b, copy + side);
    }
  });
}

}  // namespace HEDDLE_ISA
}  // namespace heddle
