// The gradient of attention. A task owns the keys and values of one (sequence, key/value head) and walks all queries
// that read them. Threads therefore share no sums. If there are too few such tasks, the queries are split into parts.
// Their number depends only on the shape, and their sums are added in order.
#pragma once
#include "cpu/attention/attention_nan_fixup-inl.h"

namespace heddle {
namespace HEDDLE_ISA {

struct BackwardPlan {
  int64_t owners, parts, padded;  // padded: width rounded up to whole tiles
  int64_t sums;                   // floats of dk and dv of one owner
  int64_t buffers;                // number of such sums in scratch
  int64_t side, work;             // floats of one thread: its copy of keys and values, and its whole scratch
};
// Whether the instruction set that this one extends computes the gradients (below-inl.h), instead of products of bf16
// pairs. That set is used if operands must not be rounded, or if sequences or windows are shorter than a panel. Such
// panels are mostly padding, and pairs do not speed them up.
inline bool backward_below(const Attention& a) {
  return bf16_pairs && !(a.pairs && a.length >= NR && (a.window == 0 || a.window >= NR));
}
inline BackwardPlan plan_pairs(const Attention& a, BackwardPlan p);  // scratch sizes for operands in pairs
inline void backward_pairs(const Attention& a, const Mask& mask, int64_t sequence, int64_t head, int64_t position,
    float* work, int64_t side, int64_t padded, float* dk, float* dv);
inline void copy_pairs(const Attention& a, int64_t kv, float* to);

inline BackwardPlan plan_backward(const Attention& a, int threads) {
  BackwardPlan p;
  p.owners = a.batch * a.kv_heads;
  p.padded = round_up(a.width, NR);
  p.sums = 2 * a.length * p.padded;
  int64_t items = a.heads / a.kv_heads * ceil_div(a.length, query_block);
  // At least 16 tasks if the queries suffice. The number of threads must not matter, because the number of parts
  // affects how sums are rounded.
  p.parts = p.owners == 0 || p.owners >= 16 ? 1 : min_of(ceil_div(16, p.owners), max_of<int64_t>(1, items / 4));
  while (p.parts > 1 && p.owners * p.parts * p.sums > int64_t{8} << 20) --p.parts;  // at most 32 MiB of partial sums
  p.buffers = p.parts > 1 ? p.owners * p.parts : threads;
  int64_t panels = 3 * query_block * a.width, rows = 2 * query_block * p.padded, keys = 2 * key_block * a.width;
  p.side = side_floats(a);
  p.work = p.side + round_up(panels + rows + keys + 2 * key_block * query_block + 2 * query_block, 16);
  return bf16_pairs ? plan_pairs(a, p) : p;
}
inline size_t attention_backward_scratch(const Attention& a, int threads) {
  if (backward_below(a)) return below.attention_backward_scratch(a, threads);
  BackwardPlan p = plan_backward(a, threads);
  int64_t sums = p.buffers * p.sums;
  // A run with a smaller batch may split the queries into more parts. Such a run has fewer than 32 buffers, and at most
  // 32 MiB of sums.
  int64_t bound = max_of(sums, min_of<int64_t>(int64_t{8} << 20, 32 * p.sums));
  return sizeof(float) * static_cast<size_t>(bound + threads * p.work + document_ints(a));
}

// Converts a panel of scaled scores s (keys, NR) to probabilities, and dp (keys, NR) to the gradients of the scaled
// scores. Rows of both are query_block floats apart.
inline void backward_panel(
    float* s, float* dp, int64_t keys, const Edges& edges, float softcap, const float* lse, const float* delta) {
  bool cut = edges.low || edges.high;
  F l[2], mean[2];
  for (int half = 0; half < 2; ++half) l[half] = load(lse + half * W), mean[half] = load(delta + half * W);
  for (int64_t j = 0; j < keys; ++j, s += query_block, dp += query_block) {
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      F score = load(s + half * W), slope = set1(1.0f);
      if (softcap > 0) {
        F x = mul(score, set1(1.0f / softcap));
        score = mul(tanh(x), set1(softcap)), slope = tanh_slope(x);
      }
      if (cut) score = masked(score, edges, half, static_cast<float>(j));
      F p = exp_nonpositive(sub(score, l[half]));
      F d = mul(p, sub(load(dp + half * W), mean[half]));
      if (softcap > 0) d = mul(d, slope);
      store(s + half * W, p), store(dp + half * W, d);
    }
  }
}

// Clears the rows (keys) of a panel of s and dp that none of its queries sees. spread_tile reads them together with
// visible rows.
inline void clear_rows(float* s, float* dp, int64_t from, int64_t to) {
  for (int64_t r = from * query_block; r < to * query_block; r += query_block)
    for (int64_t c = 0; c < NR; c += W) store(s + r + c, zero()), store(dp + r + c, zero());
}

// c (keys, padded) += a (keys, query_block) b (query_block, padded), over queries [from, to) only. Under a causal mask,
// key row j is visible to queries from `diagonal + j` on only. Whole panels before that are skipped. With bf16_pairs, a
// and b hold pairs of queries.
inline void spread_tile(const float* a, const float* b, int64_t keys, int64_t from, int64_t to, bool causal,
    int64_t diagonal, int64_t padded, float* c) {
  // Queries per float of a, and floats per row of a.
  constexpr int64_t queries = bf16_pairs ? 2 : 1, stride = query_block / queries;
  for (int64_t j = 0; j < keys; j += MR) {
    int64_t rows = min_of<int64_t>(MR, keys - j), start = from;
    if (causal) start = max_of(start, (diagonal + j) / NR * NR);
    if (start >= to) continue;
    MicroTile tile = micro_tile_for<false, bf16_pairs>(rows);
    int64_t first = start / queries, count = ceil_div(to, queries) - first;
    for (int64_t d = 0; d < padded; d += NR)
      tile(count, a + j * stride + first, stride, b + first * padded + d, padded, c + j * padded + d, padded, nullptr,
          true);
  }
}

struct BackwardWork {
  float *q_panels, *do_panels, *dq_panels;  // (panels, width, NR)
  float *q_rows, *do_rows;                  // (query_block, padded)
  float *k, *v;                             // (key_block, width)
  float *s, *dp;                            // (key_block, query_block)
  float *lse, *delta;                       // (query_block)
  const float *all_k, *all_v;               // (length, width) copies, or null
};
inline BackwardWork carve_backward(float* at, int64_t side, int64_t width, int64_t padded) {
  BackwardWork w{};
  if (side) w.all_k = at, w.all_v = at + side / 2, at += side;
  w.q_panels = at, at += query_block * width;
  w.do_panels = at, at += query_block * width;
  w.dq_panels = at, at += query_block * width;
  w.q_rows = at, at += query_block * padded;
  w.do_rows = at, at += query_block * padded;
  w.k = at, at += key_block * width;
  w.v = at, at += key_block * width;
  w.s = at, at += key_block * query_block;
  w.dp = at, at += key_block * query_block;
  w.lse = at, at += query_block;
  w.delta = at;
  return w;
}

// Processes all keys against the block of queries that starts at `position` of head `head`.
inline void backward_block(const Attention& a, const Mask& mask, int64_t sequence, int64_t head, int64_t position,
    const BackwardWork& w, int64_t padded, float* dk, float* dv) {
  int64_t width = a.width, q_stride = a.heads * width, kv_stride = a.kv_heads * width;
  int64_t rows = min_of(query_block, a.length - position), row = sequence * a.length + position;
  int64_t qo = row * q_stride + head * width,
          kv = sequence * a.length * kv_stride + head / (a.heads / a.kv_heads) * width;
  load_panels(a.q, a.type, qo, q_stride, rows, width, a.scale, w.q_panels);
  load_panels(a.d_o, a.type, qo, q_stride, rows, width, 1, w.do_panels);
  // delta = dot(do, o) of each query. o is loaded into the buffer that q's rows take afterwards.
  load_tile(a.o, a.type, qo, q_stride, rows, width, w.q_rows, padded);
  load_tile(a.d_o, a.type, qo, q_stride, rows, width, w.do_rows, padded);
  for (int64_t i = 0; i < query_block; ++i) {
    w.lse[i] = i < rows ? a.lse[(row + i) * a.heads + head] : minus_infinity;
    // Lanes beyond the end, and rows that see no key, get p = 0.
    if (w.lse[i] == minus_infinity) w.lse[i] = -minus_infinity;
    F sum = zero();
    if (i < rows)
      for (int64_t d = 0; d < padded; d += W)
        sum = fma(load(w.q_rows + i * padded + d), load(w.do_rows + i * padded + d), sum);
    w.delta[i] = reduce_add(sum);
  }
  load_tile(a.q, a.type, qo, q_stride, rows, width, w.q_rows, padded);
  for (int64_t i = 0; i < rows * padded; i += W) store(w.q_rows + i, mul(load(w.q_rows + i), set1(a.scale)));
  for (int64_t i = 0; i < query_block * width; i += W) store(w.dq_panels + i, zero());

  int64_t end = position + rows, last = mask.high(end - 1, a.length);
  for (int64_t j = mask.low(position); j < last; j += key_block) {
    int64_t keys = min_of(key_block, last - j);
    const float *k = w.k, *v = w.v;
    if (w.all_k) {
      k = w.all_k + j * width, v = w.all_v + j * width;
    } else {
      load_tile(a.k, a.type, kv + j * kv_stride, kv_stride, keys, width, w.k, width);
      load_tile(a.v, a.type, kv + j * kv_stride, kv_stride, keys, width, w.v, width);
    }
    int64_t from = query_block, to = 0;  // range of queries that see any key of this block
    for (int64_t p = 0; p * NR < rows; ++p) {
      int64_t query = position + p * NR;
      auto [skip, seen] = seen_keys(mask, query, min_of(query + NR, end), j, keys, a.length);
      if (skip >= seen) continue;
      // Clears the skipped panels between visible ones. Their queries are padding and see no key.
      for (int64_t gap = to; gap > 0 && gap < p * NR; gap += NR) clear_rows(w.s + gap, w.dp + gap, 0, keys);
      from = min_of<int64_t>(from, p * NR), to = min_of<int64_t>((p + 1) * NR, rows);
      float *s = w.s + p * NR, *dp = w.dp + p * NR;
      int64_t count = seen - skip, from_key = skip * width, from_row = skip * query_block;
      score_tile(k + from_key, width, count, width, w.q_panels + p * NR * width, s + from_row, query_block);
      score_tile(v + from_key, width, count, width, w.do_panels + p * NR * width, dp + from_row, query_block);
      Edges edges = edges_of(mask, query, rows - p * NR, j + skip, count, a.length);
      backward_panel(s + from_row, dp + from_row, count, edges, a.softcap, w.lse + p * NR, w.delta + p * NR);
      clear_rows(s, dp, 0, skip), clear_rows(s, dp, seen, keys);
      mix_tile(k + from_key, width, count, width, dp + from_row, query_block, w.dq_panels + p * NR * width);
    }
    spread_tile(w.s, w.do_rows, keys, from, to, a.causal, j - position, padded, dv + j * padded);
    spread_tile(w.dp, w.q_rows, keys, from, to, a.causal, j - position, padded, dk + j * padded);
  }
  float scale[NR];
  for (int i = 0; i < NR; ++i) scale[i] = a.scale;
  for (int64_t p = 0; p * NR < rows; ++p)
    store_lanes(w.dq_panels + p * NR * width, width, scale, min_of<int64_t>(NR, rows - p * NR), a.dq, a.type,
        qo + p * NR * q_stride, q_stride);
  fix_nan_queries(a, mask, sequence, head, position, rows);
}

// Adds up row `row` of an owner's sums over all its parts, and writes it times `factor` to the gradient. Returns
// whether the row is finite.
inline bool store_sums(const Attention& a, const float* sums, int64_t parts, int64_t part_stride, int64_t padded,
    int64_t row, float factor, int64_t at, void* to) {
  F check = zero();
  for (int64_t d = 0; d < a.width; d += W) {
    F v = load(sums + row * padded + d);
    for (int64_t p = 1; p < parts; ++p) v = add(v, load(sums + p * part_stride + row * padded + d));
    v = mul(v, set1(factor));
    check = fma(v, zero(), check);  // becomes NaN if an element is not finite
    int n = static_cast<int>(min_of<int64_t>(W, a.width - d));
    if (a.type == DType::f32)
      n == W ? store(static_cast<float*>(to) + at + d, v) : store_n(static_cast<float*>(to) + at + d, v, n);
    else n == W ? store(static_cast<bf16*>(to) + at + d, v) : store_n(static_cast<bf16*>(to) + at + d, v, n);
  }
  return reduce_add(check) == 0;
}

inline void attention_backward(const Attention& a, Pool& pool, void* scratch) {
  if (backward_below(a)) return below.attention_backward(a, pool, scratch);
  BackwardPlan plan = plan_backward(a, pool.threads());
  float* sums = static_cast<float*>(scratch);
  float* work = sums + plan.buffers * plan.sums;
  int32_t* starts = reinterpret_cast<int32_t*>(work + pool.threads() * plan.work);
  if (a.documents) find_documents(a, starts);
  int64_t group = a.heads / a.kv_heads, blocks = ceil_div(a.length, query_block), kv_stride = a.kv_heads * a.width;
  auto store_owner = [&](int64_t owner, const float* from, int64_t parts, int64_t begin, int64_t end) {
    int64_t base = owner / a.kv_heads * a.length * kv_stride + owner % a.kv_heads * a.width;
    for (int64_t r = begin; r < end; ++r) {
      const bool keys =
          store_sums(a, from, parts, plan.sums, plan.padded, r, bf16_pairs ? a.scale : 1, base + r * kv_stride, a.dk);
      const bool values =
          store_sums(a, from + a.length * plan.padded, parts, plan.sums, plan.padded, r, 1, base + r * kv_stride, a.dv);
      if (!keys || !values)
        fix_nan_key(a, mask_of(a, starts, owner / a.kv_heads), owner / a.kv_heads, owner % a.kv_heads, r);
    }
  };
  pool.run(plan.owners * plan.parts, [&](int64_t t, int thread) {
    int64_t owner = t / plan.parts, part = t % plan.parts;
    float* dk = sums + (plan.parts > 1 ? t : thread) * plan.sums;
    float* dv = dk + a.length * plan.padded;
    for (int64_t i = 0; i < plan.sums; i += W) store(dk + i, zero());
    float* mine = work + thread * plan.work;
    int64_t kv = owner / a.kv_heads * a.length * kv_stride + owner % a.kv_heads * a.width;
    if (plan.side && bf16_pairs) {
      copy_pairs(a, kv, mine);
    } else if (plan.side) {
      load_tile(a.k, a.type, kv, kv_stride, a.length, a.width, mine, a.width);
      load_tile(a.v, a.type, kv, kv_stride, a.length, a.width, mine + plan.side / 2, a.width);
    }
    for (int64_t item = part; item < group * blocks; item += plan.parts) {
      int64_t head = owner % a.kv_heads * group + item % group, sequence = owner / a.kv_heads,
              position = item / group * query_block;
      Mask mask = mask_of(a, starts, sequence);
      if constexpr (bf16_pairs) backward_pairs(a, mask, sequence, head, position, mine, plan.side, plan.padded, dk, dv);
      else
        backward_block(a, mask, sequence, head, position, carve_backward(mine, plan.side, a.width, plan.padded),
            plan.padded, dk, dv);
    }
    if (plan.parts == 1) store_owner(owner, dk, 1, 0, a.length);
  });
  if (plan.parts > 1)
    pool.run(plan.owners * blocks, [&](int64_t t, int) {
      int64_t owner = t / blocks, begin = t % blocks * query_block;
      store_owner(
          owner, sums + owner * plan.parts * plan.sums, plan.parts, begin, min_of(begin + query_block, a.length));
    });
}

// Computes d_sinks (heads). One thread adds up a whole head in double, so the result does not depend on the number of
// threads.
inline void sinks_backward(const cpu::SinksBackward& a, Pool& pool) {
  pool.run(a.heads, [&](int64_t head, int) {
    float sink = sink_of(a.sinks, a.sinks_type, head);
    double sum = 0;
    for (int64_t i = head; i < a.rows * a.heads; i += a.heads) {
      F dots = zero();
      for (int64_t d = 0; d < a.width; d += W) {
        int n = static_cast<int>(min_of<int64_t>(W, a.width - d));
        const void *g = element(a.d_o, a.type, i * a.width + d), *o = element(a.o, a.type, i * a.width + d);
        if (a.type == DType::f32)
          dots = fma(load_n(static_cast<const float*>(g), n), load_n(static_cast<const float*>(o), n), dots);
        else dots = fma(load_n(static_cast<const bf16*>(g), n), load_n(static_cast<const bf16*>(o), n), dots);
      }
      alignas(64) float p[W];
      store(p, exp_nonpositive(set1(sink - a.lse[i])));
      sum -= static_cast<double>(p[0]) * reduce_add(dots);
    }
    a.d_sinks[head] = static_cast<float>(sum);
  });
}

}  // namespace HEDDLE_ISA
}  // namespace heddle
