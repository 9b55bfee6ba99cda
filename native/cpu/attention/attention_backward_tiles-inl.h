// The gradient of attention on AMX tiles, rounded like attention_backward_pairs-inl.h, in blocks of 128 queries by 64
// keys. Scores are stored as (key, query), with queries in lanes. Softmax weights and score gradients are stored as
// bf16 rows of queries, for the gradients of keys and values. Score gradients are also stored as pairs of keys, for the
// gradient of queries.
#pragma once
#include "cpu/attention/attention_backward_pairs-inl.h"
#include "cpu/attention/attention_tiles-inl.h"
#include "cpu/gemm/pack_tiles-inl.h"

namespace heddle {
namespace HEDDLE_ISA {

constexpr int64_t tile_queries = 128;
static_assert(NR == panel_rows, "vector panels and tile panels have the same height");

// A block of keys: k and v are bf16 rows (tile_keys, padded). `transposed` holds the keys transposed, in tiles: (padded
// / 32, tile_keys / 32, 32, 16 pairs).
struct BackwardKeys {
  float *k, *v, *transposed;
  static int64_t floats(int64_t padded) { return 3 * block_floats(padded); }
  BackwardKeys(float* at, int64_t padded) : k(at), v(at + block_floats(padded)), transposed(v + block_floats(padded)) {}
  void load(const Attention& a, int64_t kv, int64_t j, int64_t padded) const {
    const int64_t stride = a.kv_heads * a.width, rows = min_of(tile_keys, a.length - j), depth = padded / 2;
    for (bool values : {false, true}) {
      float* to = values ? v : k;
      copy_rounded(values ? a.v : a.k, a.type, kv + j * stride, stride, rows, a.width, padded, to);
      clear(to + rows * depth, (tile_keys - rows) * depth);
    }
    for (int64_t d = 0; d < padded; d += panel_rows)
      pack_tile_columns(
          reinterpret_cast<const bf16*>(k) + d, padded, panel_rows, tile_keys, transposed + d * tile_keys / 2);
  }
};

struct BackwardTiles {
  float *q_panels, *do_panels;  // (panels, padded / 2, 32): pairs of elements
  float *q_pairs, *do_pairs;    // (tile_queries / 2, padded): pairs of queries
  float* dq;                    // (panels, padded, 32)
  float *s, *dp;                // (tile_keys, 32)
  float *p_rows, *d_rows;       // (tile_keys, tile_queries) bf16
  float* d_pairs;               // (tile_keys / 2, 32)
  float *lse, *delta;           // (tile_queries)
  float* keys;                  // two blocks, used if not all keys are copied at once
  int64_t floats;
  BackwardTiles(float* at, int64_t padded) {
    const float* begin = at;
    const auto take = [&](int64_t n) { return at += n, at - n; };
    q_panels = take(tile_queries * padded / 2), do_panels = take(tile_queries * padded / 2);
    q_pairs = take(tile_queries * padded / 2), do_pairs = take(tile_queries * padded / 2),
    dq = take(tile_queries * padded);
    s = take(tile_keys * NR), dp = take(tile_keys * NR);
    p_rows = take(tile_keys * tile_queries / 2), d_rows = take(tile_keys * tile_queries / 2),
    d_pairs = take(tile_keys / 2 * NR);
    lse = take(tile_queries), delta = take(tile_queries), keys = take(2 * BackwardKeys::floats(padded));
    floats = at - begin;
  }
};

inline BackwardPlan plan_tiles(const Attention& a, int threads) {
  BackwardPlan p;
  p.owners = a.batch * a.kv_heads, p.padded = tile_width(a.width),
  p.sums = 2 * round_up(a.length, tile_keys) * p.padded;
  const int64_t items = a.heads / a.kv_heads * ceil_div(a.length, tile_queries);
  p.parts = p.owners == 0 || p.owners >= 16 ? 1 : min_of(ceil_div(16, p.owners), max_of<int64_t>(1, items / 4));
  while (p.parts > 1 && p.owners * p.parts * p.sums > int64_t{8} << 20) --p.parts;
  p.buffers = p.parts > 1 ? p.owners * p.parts : threads;
  p.side = side_floats(a) ? ceil_div(a.length, tile_keys) * BackwardKeys::floats(p.padded) : 0;
  p.work = p.side + BackwardTiles(nullptr, p.padded).floats;
  return p;
}
inline size_t attention_backward_tiles_scratch(const Attention& a, int threads) {
  if (backward_below(a)) return below.attention_backward_scratch(a, threads);
  const BackwardPlan p = plan_tiles(a, threads);
  // attention_backward_scratch explains this bound.
  const int64_t bound = max_of(p.buffers * p.sums, min_of<int64_t>(int64_t{8} << 20, 32 * p.sums));
  return sizeof(float) * static_cast<size_t>(bound + threads * p.work + document_ints(a));
}

// Converts the products s of keys [from, to) to softmax weights, and dp to the gradients of the scaled products. Edges
// are relative to `from`.
inline void backward_tile_panel(
    const BackwardTiles& w, int64_t lane, int64_t from, int64_t to, const Edges& edges, float scale, float softcap) {
#if defined(HEDDLE_SIMD_BF16)
  const bool cut = edges.low || edges.high;
  // If the scale is at most 0, the products are scaled before they are masked. If -inf were scaled after masking, it
  // would become infinity or NaN.
  const bool replaced = !(softcap > 0) && !(scale > 0);
  const F factor = set1(softcap > 0 || replaced ? log2_e : scale * log2_e);
  F less[2], mean[2];
  for (int h = 0; h < 2; ++h) less[h] = neg(load(w.lse + lane + h * W)), mean[h] = load(w.delta + lane + h * W);
  const auto one = [&](int64_t j, int h, F& p, F& d) {
    F score = load(w.s + j * NR + h * W), slope = set1(1.0f);
    if (softcap > 0) {
      const F x = mul(score, set1(scale / softcap));
      score = mul(tanh(x), set1(softcap)), slope = tanh_slope(x);
    } else if (replaced) {
      score = mul(score, set1(scale));
    }
    if (cut) score = masked(score, edges, h, static_cast<float>(j - from));
    p = exp2_nonpositive(fma(score, factor, less[h]));
    d = mul(p, sub(load(w.dp + j * NR + h * W), mean[h]));
    if (softcap > 0) d = mul(d, slope);
  };
  const auto row = [&](int64_t j, F& d0, F& d1) {
    F p0, p1;
    one(j, 0, p0, d0), one(j, 1, p1, d1);
    store(w.p_rows + (j * tile_queries + lane) / 2, rounded_pairs(p0, p1)),
        store(w.d_rows + (j * tile_queries + lane) / 2, rounded_pairs(d0, d1));
  };
  for (int64_t j = from; j < to; j += 2) {
    F a0, a1, b0, b1;
    row(j, a0, a1), row(j + 1, b0, b1);
    store(w.d_pairs + j / 2 * NR, join_rounded(a0, b0)), store(w.d_pairs + j / 2 * NR + W, join_rounded(a1, b1));
  }
#endif
}

// s (tile_keys, 32) = rows (tile_keys, padded) times a panel of queries, for keys [from, to).
inline void score_panel(const float* rows, const float* panel, int64_t from, int64_t to, int64_t padded, float* s) {
  const int64_t depth = padded / 2;
  for (int64_t j = from; j < to; j += panel_rows)
    multiply_tiles({rows + j * depth, TILE * depth, depth * 4, tile_pairs}, {panel, TILE, NR * 4, TILE * NR},
        depth / tile_pairs, s + j * NR, NR, true);
}

// A step: panel p of queries against keys [from, to) of the block at j.
struct BackwardStep {
  int64_t j, p = -1, from = 0, to = 0;
};

// Processes up to tile_queries queries of one head from `position` on. Computes their gradient, and adds to the
// gradients of keys and values.
template <class Keys>
void backward_tiles(const Attention& a, const Mask& mask, int64_t sequence, int64_t head, int64_t position,
    const BackwardTiles& w, int64_t padded, float* dk, float* dv, const Keys& keys_of) {
  const int64_t width = a.width, depth = padded / 2, stride = a.heads * width,
                rows = min_of(tile_queries, a.length - position), end = position + rows;
  const int64_t row = sequence * a.length + position, qo = row * stride + head * width,
                panels = ceil_div(rows, panel_rows);
  const bf16 *o = static_cast<const bf16*>(a.o) + qo, *d_o = static_cast<const bf16*>(a.d_o) + qo;
  float* stage = w.dq;
  for (bool gradient : {false, true}) {
    copy_rounded(gradient ? a.d_o : a.q, a.type, qo, stride, rows, width, padded, stage);
    clear(stage + rows * depth, (panels * panel_rows - rows) * depth);
    for (int64_t p = 0; p < panels; ++p)
      pack_pair_rows<NR>(reinterpret_cast<const bf16*>(stage) + p * NR * padded, padded, NR, padded,
          (gradient ? w.do_panels : w.q_panels) + p * NR * depth);
    pack_values(stage, panels * panel_rows, padded, gradient ? w.do_pairs : w.q_pairs);
  }
  for (int64_t i = 0; i < panels * panel_rows; ++i) {
    w.lse[i] = i < rows ? a.lse[(row + i) * a.heads + head] * log2_e : minus_infinity;
    // Lanes beyond the end, and rows that see no key, get p = 0.
    if (w.lse[i] == minus_infinity) w.lse[i] = -minus_infinity;
    F sum = zero();
    for (int64_t d = 0; i < rows && d < width; d += W) {
      const int n = static_cast<int>(min_of<int64_t>(W, width - d));
      sum = fma(load_n(o + i * stride + d, n), load_n(d_o + i * stride + d, n), sum);
    }
    w.delta[i] = reduce_add(sum);
  }
  clear(w.dq, panels * padded * NR);
  // Vector loads wait for AMX stores, and AMX loads for vector stores. The next scores are therefore computed between
  // the softmax and the products that use its weights.
  const int64_t last = mask.high(end - 1, a.length);
  BackwardStep step{mask.low(position) / tile_keys * tile_keys};
  const auto advance = [&] {
    for (; step.j < last; step.j += tile_keys, step.p = -1)
      while (++step.p < panels) {
        const int64_t query = position + step.p * NR;
        const Seen seen = seen_keys(mask, query, min_of(query + NR, end), step.j, tile_keys, a.length);
        if (seen.skip >= seen.seen) continue;
        step.from = seen.skip / panel_rows * panel_rows, step.to = round_up(seen.seen, panel_rows);
        return true;
      }
    return false;
  };
  BackwardKeys keys(nullptr, padded);
  const auto score = [&] {
    score_panel(keys.k, w.q_panels + step.p * NR * depth, step.from, step.to, padded, w.s);
    score_panel(keys.v, w.do_panels + step.p * NR * depth, step.from, step.to, padded, w.dp);
  };
  constexpr int64_t groups = tile_keys / panel_rows;
  int64_t first_panel[groups], last_panel[groups] = {};  // range of panels that see any of the 32 keys of a group
  bool more = advance();
  if (more) keys = keys_of(step.j), score();
  while (more) {
    const BackwardStep now = step;
    const BackwardKeys own = keys;
    const int64_t lane = now.p * NR;
    for (int64_t g = now.from / panel_rows; g < now.to / panel_rows; ++g) {
      if (!last_panel[g]) first_panel[g] = now.p;
      last_panel[g] = now.p + 1;
    }
    backward_tile_panel(w, lane, now.from, now.to,
        edges_of(mask, position + lane, rows - lane, now.j + now.from, now.to - now.from, a.length), a.scale,
        a.softcap);
    more = advance();
    const bool block_ends = !more || step.j != now.j;
    if (more && block_ends) keys = keys_of(step.j);
    if (more) score();
    constexpr int64_t tiles = panel_rows * TILE;
    for (int64_t d = 0; d < padded; d += panel_rows)
      multiply_tiles(
          {own.transposed + d * tile_keys / 2 + now.from / panel_rows * tiles, TILE * TILE, tile_row_bytes, tiles},
          {w.d_pairs + now.from / 2 * NR, TILE, NR * 4, TILE * NR}, (now.to - now.from) / panel_rows,
          w.dq + lane * padded + d * NR, NR, false);
    for (int64_t g = 0; block_ends && g < groups; ++g) {
      if (!last_panel[g]) continue;
      const int64_t begin = first_panel[g] * NR, at = (g * panel_rows * tile_queries + begin) / 2;
      const auto spread = [&](const float* weights, const float* queries, float* sums) {
        for (int64_t d = 0; d < padded; d += panel_rows)
          multiply_tiles({weights + at, TILE * tile_queries / 2, tile_queries * 2, tile_pairs},
              {queries + begin / 2 * padded + d, TILE, padded * 4, TILE * padded}, last_panel[g] - first_panel[g],
              sums + (now.j + g * panel_rows) * padded + d, padded, false);
      };
      spread(w.p_rows, w.do_pairs, dv), spread(w.d_rows, w.q_pairs, dk);
      last_panel[g] = 0;
    }
  }
  float scale[NR];
  for (int i = 0; i < NR; ++i) scale[i] = a.scale;
  for (int64_t p = 0; p < panels; ++p)
    store_lanes(w.dq + p * NR * padded, width, scale, min_of<int64_t>(NR, rows - p * NR), a.dq, a.type,
        qo + p * NR * stride, stride);
  fix_nan_queries(a, mask, sequence, head, position, rows);
}

inline void attention_backward_tiles(const Attention& a, Pool& pool, void* scratch) {
  if (backward_below(a)) return below.attention_backward(a, pool, scratch);
  const BackwardPlan plan = plan_tiles(a, pool.threads());
  float *sums = static_cast<float*>(scratch), *work = sums + plan.buffers * plan.sums;
  int32_t* starts = reinterpret_cast<int32_t*>(work + pool.threads() * plan.work);
  if (a.documents) find_documents(a, starts);
  const int64_t group = a.heads / a.kv_heads, blocks = ceil_div(a.length, tile_queries),
                kv_stride = a.kv_heads * a.width, padded = plan.padded, half = plan.sums / 2;
  const auto store_owner = [&](int64_t owner, const float* from, int64_t begin, int64_t end) {
    const int64_t base = owner / a.kv_heads * a.length * kv_stride + owner % a.kv_heads * a.width;
    for (int64_t r = begin; r < end; ++r) {
      const bool keys = store_sums(a, from, plan.parts, plan.sums, padded, r, a.scale, base + r * kv_stride, a.dk);
      const bool values = store_sums(a, from + half, plan.parts, plan.sums, padded, r, 1, base + r * kv_stride, a.dv);
      if (!keys || !values)
        fix_nan_key(a, mask_of(a, starts, owner / a.kv_heads), owner / a.kv_heads, owner % a.kv_heads, r);
    }
  };
  pool.run(plan.owners * plan.parts, [&](int64_t t, int thread) {
    [[maybe_unused]] const Tiles tiles;
    const int64_t owner = t / plan.parts, part = t % plan.parts,
                  kv = owner / a.kv_heads * a.length * kv_stride + owner % a.kv_heads * a.width;
    float *dk = sums + (plan.parts > 1 ? t : thread) * plan.sums, *mine = work + thread * plan.work;
    clear(dk, plan.sums);
    const BackwardTiles w(mine + plan.side, padded);
    const int64_t each = BackwardKeys::floats(padded);
    for (int64_t j = 0; plan.side && j < a.length; j += tile_keys)
      BackwardKeys(mine + j / tile_keys * each, padded).load(a, kv, j, padded);
    const auto keys_of = [&](int64_t j) {
      const BackwardKeys keys(plan.side ? mine + j / tile_keys * each : w.keys + j / tile_keys % 2 * each, padded);
      if (!plan.side) keys.load(a, kv, j, padded);
      return keys;
    };
    for (int64_t item = part; item < group * blocks; item += plan.parts)
      backward_tiles(a, mask_of(a, starts, owner / a.kv_heads), owner / a.kv_heads,
          owner % a.kv_heads * group + item % group, item / group * tile_queries, w, padded, dk, dk + half, keys_of);
    if (plan.parts == 1) store_owner(owner, dk, 0, a.length);
  });
  if (plan.parts > 1)
    pool.run(plan.owners * blocks, [&](int64_t t, int) {
      const int64_t owner = t / blocks, begin = t % blocks * tile_queries;
      store_owner(owner, sums + owner * plan.parts * plan.sums, begin, min_of(begin + tile_queries, a.length));
    });
}

}  // namespace HEDDLE_ISA
}  // namespace heddle
