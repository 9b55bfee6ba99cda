// Forward attention on AMX tiles, with panels of 32 queries by blocks of 64 keys. Scores stay in L1. Row by row
// they become softmax weights, rounded to bf16, which multiply the values as tiles. Heads that share keys use a block
// one after the other. Blocks begin at multiples of 64 keys, and invisible keys add zero. A query's bits therefore
// depend neither on other queries nor on how queries are split.
#pragma once
#include "cpu/attention/attention-inl.h"

namespace heddle {
namespace HEDDLE_ISA {

constexpr int64_t panel_rows = 2 * TILE;
constexpr int64_t tile_keys = 64;
constexpr int64_t tile_pairs = tile_row_bytes / 4;  // pairs of elements in a row of a tile

inline int64_t tile_width(int64_t width) { return round_up(width, panel_rows); }
// Floats of a block of keys, or of values.
inline int64_t block_floats(int64_t padded) { return tile_keys * padded / 2; }

// Copies rows of any float type as bf16 rows, `padded` elements apart and filled up with zeros.
inline void copy_rounded(
    const void* from, DType type, int64_t at, int64_t stride, int64_t rows, int64_t width, int64_t padded, float* to) {
  const auto copy = [&](const auto* p) { copy_element_pairs(p + at, stride, rows, width, to, padded / 2); };
  if (type == DType::f32) copy(static_cast<const float*>(from));
  else if (type == DType::f16) copy(static_cast<const f16*>(from));
  else copy(static_cast<const bf16*>(from));
}
inline void clear(float* at, int64_t floats) {
  for (int64_t i = 0; i < floats; i += W) store(at + i, zero());
}

// Packs keys (keys, padded) bf16 as tiles of 16 pairs of elements by 16 keys. The tiles of the same 16 keys are
// contiguous.
inline void pack_keys(const float* rows, int64_t keys, int64_t padded, float* to) {
  const bf16* from = reinterpret_cast<const bf16*>(rows);
  for (int64_t j = 0; j < keys; j += TILE)
    pack_pair_rows<TILE>(from + j * padded, padded, TILE, padded, to + j * padded / 2);
}
// Packs values (keys, padded) bf16 as (keys / 2, padded) pairs of keys.
inline void pack_values(const float* rows, int64_t keys, int64_t padded, float* to) {
  copy_row_pairs(reinterpret_cast<const bf16*>(rows), padded, keys, padded, to, padded);
}

// A packed block of keys and values.
struct TileKeys {
  const float *k, *v;
};

// 32 rows of an operand, as two tiles `second` floats apart. Rows are `row` bytes apart. `step` floats lead to the next
// pair of tiles along k.
struct TileOperand {
  const float* at;
  int64_t second, row, step;
};
// c (32, 32) [+]= a b over `steps` steps of 32 along k. Rows of c are c_row floats apart. fresh: overwrites c.
HEDDLE_SIMD void multiply_tiles(TileOperand a, TileOperand b, int64_t steps, float* c, int64_t c_row, bool fresh) {
  const int64_t stride = c_row * 4;
  float* below = c + TILE * c_row;
  if (fresh) {
    tile_zero<0>(), tile_zero<1>(), tile_zero<2>(), tile_zero<3>();
  } else {
    tile_load<0>(c, stride), tile_load<1>(c + TILE, stride);
    tile_load<2>(below, stride), tile_load<3>(below + TILE, stride);
  }
  for (int64_t i = 0; i < steps; ++i, a.at += a.step, b.at += b.step) {
    tile_load<4>(a.at, a.row), tile_load<6>(b.at, b.row);
    tile_dot<0, 4, 6>();
    tile_load<7>(b.at + b.second, b.row);
    tile_dot<1, 4, 7>();
    tile_load<5>(a.at + a.second, a.row);
    tile_dot<2, 5, 6>(), tile_dot<3, 5, 7>();
  }
  tile_store<0>(c, stride), tile_store<1>(c + TILE, stride);
  tile_store<2>(below, stride), tile_store<3>(below + TILE, stride);
}

// s (32, tile_keys) = q (32, padded) k^T, for keys [from, to), which are multiples of 32.
inline void score_tiles(const float* q, const float* k, int64_t from, int64_t to, int64_t padded, float* s) {
  const int64_t depth = padded / 2;
  for (int64_t j = from; j < to; j += panel_rows)
    multiply_tiles({q, TILE * depth, depth * 4, tile_pairs}, {k + j * depth, TILE * depth, tile_row_bytes, TILE * TILE},
        depth / tile_pairs, s + j, tile_keys, true);
}

// o (32, padded) [+]= p (32, tile_keys bf16) v, for keys [from, to).
inline void mix_tiles(const float* p, const float* v, int64_t from, int64_t to, int64_t padded, bool fresh, float* o) {
  for (int64_t d = 0; d < padded; d += panel_rows)
    multiply_tiles({p + from / 2, TILE * tile_keys / 2, tile_keys * 2, tile_pairs},
        {v + from / 2 * padded + d, TILE, padded * 4, TILE * padded}, (to - from) / panel_rows, o + d, padded, fresh);
}

// Returns 2^x for x <= 0, with a relative error of 3e-6. That is enough, because weights are rounded to bf16. Returns
// exactly 0 below -126.5; see exp_nonpositive.
HEDDLE_SIMD F exp2_nonpositive(F x) {
  constexpr float shift = 12582912.0f + 127;
  x = max(set1(-127.0f), x);
  const F t = add(x, set1(shift)), r = sub(x, sub(t, set1(shift)));
  F q = fma(set1(0.0095828529f), r, set1(0.055906426f));
  q = fma(q, r, set1(0.24024099f));
  q = fma(q, r, set1(0.69312418f));
  return mul(fma(q, r, set1(1.0f)), shift_exponent(t));
}

// The keys [first, last) of a block that each row of a panel sees, as floats.
struct RowSpans {
  bool cut = false;  // whether some key of [from, to) is invisible to some row
  float first[panel_rows], last[panel_rows];
  RowSpans(const Mask& mask, int64_t query, int64_t rows, int64_t block, int64_t from, int64_t to, int64_t keys) {
    if (mask.low(query + rows - 1) <= block + from && mask.high(query, keys) >= block + to) return;
    cut = true;
    for (int64_t r = 0; r < panel_rows; ++r) {
      // Rows beyond the end repeat the last query. Their results are not used.
      const int64_t at = query + min_of(r, rows - 1);
      first[r] = static_cast<float>(mask.low(at) - block), last[r] = static_cast<float>(mask.high(at, keys) - block);
    }
  }
};
alignas(64) constexpr float lane_numbers[W] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
HEDDLE_SIMD F within(F s, F key, F first, F last) {
  return select_lt(key, first, set1(minus_infinity), select_lt(key, last, s, set1(minus_infinity)));
}

// Online softmax state of each row of a panel.
struct PanelSums {
  // max: the running maximum times log2 e. shrink: the last rescaling factor. less: the negated maximum, or 0 if the
  // row has seen no key.
  float max[panel_rows], shrink[panel_rows], less[panel_rows];
  float sum[panel_rows * W];  // running sums of weights, per lane
};

// Converts products s (32, tile_keys) of keys [from, to) to softmax weights p (32, tile_keys) bf16.
inline void softmax_rows(
    float* s, float* p, int64_t from, int64_t to, const RowSpans& spans, float scale, float softcap, PanelSums& sums) {
  // Whether products in s are replaced by scores before they are masked. Otherwise exp2 applies the scale.
  const bool score = softcap > 0 || !(scale > 0);
  const F factor = set1(score ? log2_e : scale * log2_e), lanes = load(lane_numbers), lowest = set1(-3.0e38f);
  for (int64_t half = 0; half < panel_rows; half += TILE) {
    alignas(64) float tops[TILE * W];
    for (int64_t r = half; r < half + TILE; ++r) {
      float* row = s + r * tile_keys;
      F top = set1(minus_infinity), top2 = top;
      if (score || spans.cut) {
        for (int64_t j = from; j < to; j += W) {
          F x = load(row + j);
          if (score) x = mul(x, set1(scale));
          if (softcap > 0) x = capped(x, softcap);
          if (spans.cut)
            x = within(x, add(lanes, set1(static_cast<float>(j))), set1(spans.first[r]), set1(spans.last[r]));
          store(row + j, x);
          top = max(x, top);
        }
      } else {
        for (int64_t j = from; j < to; j += 2 * W) top = max(load(row + j), top), top2 = max(load(row + j + W), top2);
      }
      store(tops + (r - half) * W, max(top2, top));
    }
    F t[W];
#pragma GCC unroll 16
    for (int i = 0; i < W; ++i) t[i] = load(tops + i * W);
    transpose(t);
#pragma GCC unroll 4
    for (int step = W / 2; step > 0; step /= 2)
#pragma GCC unroll 8
      for (int i = 0; i < step; ++i) t[i] = max(t[i], t[i + step]);
    const F old = load(sums.max + half), top = max(mul(t[0], factor), old);
    // A row that has seen no key yet has maximum -inf. Subtracting 0 instead keeps its weights 0 and avoids NaN.
    const F base = select_lt(top, lowest, zero(), top);
    store(sums.max + half, top), store(sums.less + half, neg(base));
    store(sums.shrink + half, exp2_nonpositive(sub(select_lt(old, lowest, set1(minus_infinity), old), base)));
  }
#if defined(HEDDLE_SIMD_BF16)
  for (int64_t r = 0; r < panel_rows; ++r) {
    const float* row = s + r * tile_keys;
    float* to_row = p + r * tile_keys / 2;
    const F less = set1(sums.less[r]);
    F sum = mul(load(sums.sum + r * W), set1(sums.shrink[r])), sum2 = zero();
    for (int64_t j = from; j < to; j += 2 * W) {
      const F a = exp2_nonpositive(fma(load(row + j), factor, less)),
              b = exp2_nonpositive(fma(load(row + j + W), factor, less));
      store(to_row + j / 2, rounded_pairs(a, b));
      sum = add(sum, a), sum2 = add(sum2, b);
    }
    store(sums.sum + r * W, add(sum, sum2));
  }
#endif
}

// Queries (rows, heads, width) from `q` on that see the same keys. Rows are `stride` apart. o has the same layout.
struct TileQueries {
  const void* q;
  void* o;
  DType type, o_type;
  int64_t stride, rows, heads, position, width, keys;  // position: index of the first query; keys: number of keys
  Mask mask;
  float scale, softcap;
  float* lse;  // may be null; laid out like q without width
  int64_t lse_stride;
  const void* sinks;  // one per head; may be null
  DType sinks_type;
  int64_t panels() const { return ceil_div(rows, panel_rows); }
  int64_t first() const { return mask.low(position); }
  int64_t last() const { return mask.high(position + rows - 1, keys); }
};

// Iterates over the panels of queries that see any key of a block, block by block.
struct TileSteps {
  const TileQueries& b;
  float *stage, *room, *other;  // buffers for a block's rows, and for the packed forms of two blocks
  // j: first key of the block. i: panel of a head, with first query `row`. [from, to): keys of the block.
  int64_t j, loaded = -1, i = -1, row = 0, from = 0, to = 0;
  TileKeys keys{};
  TileSteps(const TileQueries& queries, float* rows, float* rooms)
      : b(queries), stage(rows), room(rooms), other(rooms + 2 * block_floats(tile_width(queries.width))),
        j(b.first() / tile_keys * tile_keys) {}
  template <class Keys> bool next(const Keys& keys_of) {
    for (const int64_t first = b.first(), last = b.last(), panels = b.panels(); j < last; j += tile_keys, i = -1)
      while (++i < panels * b.heads) {
        row = i % panels * panel_rows;
        const int64_t query = b.position + row;
        const Seen seen = seen_keys(b.mask, query, query + min_of(panel_rows, b.rows - row), j, tile_keys, b.keys);
        if (seen.skip >= seen.seen) continue;
        from = seen.skip / panel_rows * panel_rows, to = round_up(seen.seen, panel_rows);
        if (loaded == j) return true;
        keys = keys_of(j, max_of(j, first) - j, min_of(j + tile_keys, last) - j, stage, room);
        loaded = j;
        float* used = room;
        room = other, other = used;
        return true;
      }
    return false;
  }
};

constexpr int64_t panel_sum_floats = sizeof(PanelSums) / sizeof(float);
inline int64_t flash_tile_floats(int64_t panels, int64_t padded) {
  const int64_t own = panels * (panel_rows * (padded / 2 + padded) + panel_sum_floats) +
                      panel_rows * tile_keys * 3 / 2 + 5 * block_floats(padded);
  return max_of(flash_floats(padded), own);  // fix_nan_rows needs flash_floats
}

inline void finish_rows(
    const TileQueries& b, const PanelSums& sums, const float* o, int64_t row, int64_t head, int64_t padded) {
  for (int64_t r = 0; r < min_of(panel_rows, b.rows - row); ++r, o += padded) {
    const int64_t at = (row + r) * b.stride + head * b.width;
    const float sum = reduce_add(load(sums.sum + r * W)), inverse = sum > 0 ? 1 / sum : 0;
    for (int64_t d = 0; d < b.width; d += W) {
      const int n = static_cast<int>(min_of<int64_t>(W, b.width - d));
      const F x = mul(load(o + d), set1(inverse));
      if (b.o_type == DType::f32)
        n == W ? store(static_cast<float*>(b.o) + at + d, x) : store_n(static_cast<float*>(b.o) + at + d, x, n);
      else n == W ? store(static_cast<bf16*>(b.o) + at + d, x) : store_n(static_cast<bf16*>(b.o) + at + d, x, n);
    }
    if (b.lse) b.lse[(row + r) * b.lse_stride + head] = sums.max[r] * (1 / log2_e) + scalar_log(sum);
  }
}

// Computes attention of all panels. keys_of(block, from, to, stage, room) returns the packed block, of which keys
// [from, to) are visible. It must pad these keys with zeros to whole groups of 32. It may use `stage` for the block's
// rows and `room` for the packed forms.
template <class Keys> void flash_tiles(const TileQueries& b, float* work, const Keys& keys_of) {
  [[maybe_unused]] const Tiles tiles;
  const int64_t padded = tile_width(b.width), panels = b.panels(), all = panels * b.heads, panel = panel_rows * padded;
  float *q = work, *o = q + all * panel / 2, *s = o + all * panel, *p = s + panel_rows * tile_keys,
        *stage = p + panel_rows * tile_keys / 2, *rooms = stage + block_floats(padded);
  PanelSums* sums = reinterpret_cast<PanelSums*>(rooms + 4 * block_floats(padded));
  for (int64_t i = 0; i < all; ++i) {
    const int64_t row = i % panels * panel_rows, rows = min_of(panel_rows, b.rows - row), head = i / panels;
    copy_rounded(b.q, b.type, row * b.stride + head * b.width, b.stride, rows, b.width, padded, q + i * panel / 2);
    clear(q + i * panel / 2 + rows * padded / 2, (panel_rows - rows) * padded / 2);
    const float sink = sink_of(b.sinks, b.sinks_type, head) * log2_e;
    clear(sums[i].sum, panel_rows * W);
    for (int64_t r = 0; r < panel_rows; ++r) sums[i].max[r] = sink, sums[i].sum[r * W] = sink > minus_infinity ? 1 : 0;
  }
  // Vector loads wait for AMX stores, and AMX loads for vector stores. The next scores are therefore computed between
  // the softmax and the products that use its weights.
  TileSteps step(b, stage, rooms);
  const auto score = [&] { score_tiles(q + step.i * panel / 2, step.keys.k, step.from, step.to, padded, s); };
  bool more = step.next(keys_of);
  if (more) score();
  while (more) {
    const TileSteps now = step;
    const int64_t query = b.position + now.row, rows = min_of(panel_rows, b.rows - now.row);
    const bool fresh = now.j / tile_keys == b.mask.low(query) / tile_keys;
    float* sum = o + now.i * panel;
    softmax_rows(s, p, now.from, now.to, RowSpans(b.mask, query, rows, now.j, now.from, now.to, b.keys), b.scale,
        b.softcap, sums[now.i]);
    for (int64_t r = 0; !fresh && r < panel_rows; ++r)
      if (sums[now.i].shrink[r] != 1)
        for (int64_t d = 0; d < padded; d += W)
          store(sum + r * padded + d, mul(load(sum + r * padded + d), set1(sums[now.i].shrink[r])));
    more = step.next(keys_of);
    if (more) score();
    mix_tiles(p, now.keys.v, now.from, now.to, padded, fresh, sum);
  }
  for (int64_t i = 0; i < all; ++i) {
    const int64_t row = i % panels * panel_rows, query = b.position + row;
    if (b.mask.low(query) >= b.mask.high(query + min_of(panel_rows, b.rows - row) - 1, b.keys))
      clear(o + i * panel, panel);
    finish_rows(b, sums[i], o + i * panel, row, i / panels, padded);
  }
}

}  // namespace HEDDLE_ISA
}  // namespace heddle
