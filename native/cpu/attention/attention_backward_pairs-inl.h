// The gradient of attention as in attention_backward-inl.h, with bf16 dot products. Softmax weights and gradients of
// scores are rounded to bf16 before they multiply queries, keys and the output's gradient. All sums are f32.
#pragma once
#include "cpu/attention/attention_backward-inl.h"

namespace heddle {
namespace HEDDLE_ISA {

// Floats for copies of all keys and values: rows of both, and the keys again as pairs of rows.
inline int64_t backward_copy_floats(int64_t keys, int64_t width) {
  return 2 * key_floats(keys, width) + ceil_div(keys, 2) * width;
}
struct PairCopies {
  float *k, *v;    // (keys, depth)
  float* k_pairs;  // (ceil(keys / 2), width)
};
inline PairCopies carve_copies(float* at, int64_t keys, int64_t width) {
  return {at, at + key_floats(keys, width), at + 2 * key_floats(keys, width)};
}
inline void copy_pair_rows(const Attention& a, int64_t at, int64_t keys, const PairCopies& to) {
  const bf16 *k = static_cast<const bf16*>(a.k) + at, *v = static_cast<const bf16*>(a.v) + at;
  int64_t stride = a.kv_heads * a.width, depth = ceil_div(a.width, 2);
  copy_element_pairs(k, stride, keys, a.width, to.k, depth);
  copy_element_pairs(v, stride, keys, a.width, to.v, depth);
  copy_row_pairs(k, stride, keys, a.width, to.k_pairs, a.width);
}
inline void copy_pairs(const Attention& a, int64_t kv, float* to) {
  copy_pair_rows(a, kv, a.length, carve_copies(to, a.length, a.width));
}

struct PairWork {
  float *q_panels, *do_panels;  // (panels, depth, NR)
  float* dq_panels;             // (panels, width, NR)
  float *q_pairs, *do_pairs;    // (query_block / 2, padded)
  PairCopies tile;              // copies of key_block keys and values
  float *s, *dp;                // (key_block, NR)
  float *p_rows, *d_rows;       // (key_block, query_block) bf16: pairs of queries
  float* d_pairs;               // (key_block / 2, NR): pairs of keys
  float *lse, *delta;           // (query_block)
  int64_t floats;
};
inline PairWork carve_pairs(float* at, int64_t width, int64_t padded) {
  PairWork w;
  float* begin = at;
  auto take = [&](int64_t floats) {
    float* p = at;
    at += round_up(floats, 16);
    return p;
  };
  int64_t depth = ceil_div(width, 2);
  w.q_panels = take(query_block * depth), w.do_panels = take(query_block * depth),
  w.dq_panels = take(query_block * width);
  w.q_pairs = take(query_block / 2 * padded), w.do_pairs = take(query_block / 2 * padded);
  w.tile = carve_copies(take(backward_copy_floats(key_block, width)), key_block, width);
  w.s = take(key_block * NR), w.dp = take(key_block * NR);
  w.p_rows = take(key_block * query_block / 2), w.d_rows = take(key_block * query_block / 2);
  w.d_pairs = take(key_block / 2 * NR), w.lse = take(query_block), w.delta = take(query_block);
  w.floats = at - begin;
  return w;
}
inline BackwardPlan plan_pairs(const Attention& a, BackwardPlan p) {
  if (p.side) p.side = round_up(backward_copy_floats(a.length, a.width), 16);
  p.work = p.side + carve_pairs(nullptr, a.width, p.padded).floats;
  return p;
}

// Converts panels s and dp (keys, NR) of dot products to softmax weights and to the gradients of the scaled products.
// Stores both as bf16 rows with stride query_block, and the gradients also as pairs of keys.
inline void backward_panel_pairs(const float* s, const float* dp, int64_t keys, const Edges& edges, float scale,
    float softcap, const float* lse, const float* delta, bf16* p_rows, bf16* d_rows, float* d_pairs) {
#if defined(HEDDLE_SIMD_BF16)
  bool cut = edges.low || edges.high;
  for (int half = 0; half < 2; ++half) {
    F l = load(lse + half * W), mean = load(delta + half * W);
    auto one = [&](int64_t j) {
      F score = mul(load(s + j * NR + half * W), set1(scale)), slope = set1(1.0f);
      if (softcap > 0) {
        F x = mul(score, set1(1.0f / softcap));
        score = mul(tanh(x), set1(softcap)), slope = tanh_slope(x);
      }
      if (cut) score = masked(score, edges, half, static_cast<float>(j));
      F p = exp_nonpositive(sub(score, l));
      F d = mul(p, sub(load(dp + j * NR + half * W), mean));
      if (softcap > 0) d = mul(d, slope);
      store(p_rows + j * query_block + half * W, p), store(d_rows + j * query_block + half * W, d);
      return d;
    };
    for (int64_t j = 0; j < keys; j += 2) {
      F low = one(j), high = j + 1 < keys ? one(j + 1) : zero();
      store(d_pairs + j / 2 * NR + half * W, join_rounded(low, high));
    }
  }
#else
  (void)s, (void)dp, (void)keys, (void)edges, (void)scale, (void)softcap, (void)lse, (void)delta, (void)p_rows,
      (void)d_rows, (void)d_pairs;
#endif
}

// Clears rows [from, to) of the panel of queries that begins at `lane`. These queries do not see the keys, but
// spread_tile reads their weights.
inline void clear_pair_rows(const PairWork& w, int64_t lane, int64_t from, int64_t to) {
  for (int64_t r = from; r < to; ++r)
    for (float* rows : {w.p_rows, w.d_rows}) store(rows + (r * query_block + lane) / 2, zero());
}

// Like backward_block. `work` begins with the copies of keys and values if `side` is not 0.
inline void backward_pairs(const Attention& a, const Mask& mask, int64_t sequence, int64_t head, int64_t position,
    float* work, int64_t side, int64_t padded, float* dk, float* dv) {
  static_assert(NR == 2 * W, "a row of a panel's lanes in bf16 is one vector");
  int64_t width = a.width, depth = ceil_div(width, 2), q_stride = a.heads * width, kv_stride = a.kv_heads * width;
  int64_t rows = min_of(query_block, a.length - position), row = sequence * a.length + position;
  int64_t qo = row * q_stride + head * width,
          kv = sequence * a.length * kv_stride + head / (a.heads / a.kv_heads) * width;
  const bf16 *q = static_cast<const bf16*>(a.q) + qo, *d_o = static_cast<const bf16*>(a.d_o) + qo,
             *o = static_cast<const bf16*>(a.o) + qo;
  PairWork w = carve_pairs(work + side, width, padded);
  PairCopies all = carve_copies(work, a.length, width);
  load_pair_panels(q, q_stride, rows, width, w.q_panels);
  load_pair_panels(d_o, q_stride, rows, width, w.do_panels);
  copy_row_pairs(q, q_stride, rows, width, w.q_pairs, padded);
  copy_row_pairs(d_o, q_stride, rows, width, w.do_pairs, padded);
  for (int64_t i = 0; i < query_block; ++i) {
    w.lse[i] = i < rows ? a.lse[(row + i) * a.heads + head] : minus_infinity;
    // Lanes beyond the end, and rows that see no key, get p = 0.
    if (w.lse[i] == minus_infinity) w.lse[i] = -minus_infinity;
    F sum = zero();
    for (int64_t d = 0; i < rows && d < width; d += W) {
      int n = static_cast<int>(min_of<int64_t>(W, width - d));
      sum = fma(load_n(o + i * q_stride + d, n), load_n(d_o + i * q_stride + d, n), sum);
    }
    w.delta[i] = reduce_add(sum);
  }
  for (int64_t i = 0; i < query_block * width; i += W) store(w.dq_panels + i, zero());

  int64_t end = position + rows, last = mask.high(end - 1, a.length);
  for (int64_t j = mask.low(position) / 2 * 2; j < last; j += key_block) {
    int64_t keys = min_of(key_block, last - j);
    PairCopies tile = w.tile;
    if (side) tile = {all.k + j * depth, all.v + j * depth, all.k_pairs + j / 2 * width};
    else copy_pair_rows(a, kv + j * kv_stride, keys, tile);
    int64_t from = query_block, to = 0;  // range of queries that see any key of this block
    for (int64_t p = 0; p * NR < rows; ++p) {
      int64_t query = position + p * NR, lane = p * NR;
      auto [skip, seen] = seen_keys(mask, query, min_of(query + NR, end), j, keys, a.length);
      if (skip >= seen) continue;
      skip = skip / 2 * 2;
      for (int64_t gap = to; gap > 0 && gap < lane; gap += NR) clear_pair_rows(w, gap, 0, keys);  // skipped panels
      from = min_of<int64_t>(from, lane), to = min_of<int64_t>(lane + NR, rows);
      int64_t count = seen - skip;
      score_tile<true>(tile.k + skip * depth, depth, count, depth, w.q_panels + lane * depth, w.s, NR);
      score_tile<true>(tile.v + skip * depth, depth, count, depth, w.do_panels + lane * depth, w.dp, NR);
      Edges edges = edges_of(mask, query, rows - lane, j + skip, count, a.length);
      int64_t at = skip * query_block + lane;
      backward_panel_pairs(w.s, w.dp, count, edges, a.scale, a.softcap, w.lse + lane, w.delta + lane,
          reinterpret_cast<bf16*>(w.p_rows) + at, reinterpret_cast<bf16*>(w.d_rows) + at, w.d_pairs);
      clear_pair_rows(w, lane, 0, skip), clear_pair_rows(w, lane, seen, keys);
      mix_tile<true>(
          tile.k_pairs + skip / 2 * width, width, ceil_div(count, 2), width, w.d_pairs, NR, w.dq_panels + lane * width);
    }
    spread_tile(w.p_rows, w.do_pairs, keys, from, to, a.causal, j - position, padded, dv + j * padded);
    spread_tile(w.d_rows, w.q_pairs, keys, from, to, a.causal, j - position, padded, dk + j * padded);
  }
  float scale[NR];
  for (int i = 0; i < NR; ++i) scale[i] = a.scale;
  for (int64_t p = 0; p * NR < rows; ++p)
    store_lanes(w.dq_panels + p * NR * width, width, scale, min_of<int64_t>(NR, rows - p * NR), a.dq, a.type,
        qo + p * NR * q_stride, q_stride);
  fix_nan_queries(a, mask, sequence, head, position, rows);
}

}  // namespace HEDDLE_ISA
}  // namespace heddle
