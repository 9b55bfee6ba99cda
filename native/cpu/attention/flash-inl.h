// One block of queries against a range of keys with online softmax (Dao et al., "FlashAttention", 2022), on the
// register tile of micro-inl.h. Queries are the vector lanes, and scores are stored as (key, query). The softmax
// therefore needs no horizontal reductions, and keys and values are only broadcast. Keys that no query of a panel sees
// are skipped one by one, not in tiles.
#pragma once
#include "cpu/gemm/gemv-inl.h"
#include "cpu/gemm/micro-inl.h"
#include "cpu/gemm/pack-inl.h"

namespace heddle {
namespace HEDDLE_ISA {

inline int64_t element_bytes(DType t) { return t == DType::f32 || t == DType::i32 ? 4 : t == DType::u8 ? 1 : 2; }
inline const void* element(const void* p, DType t, int64_t i) {
  return static_cast<const char*>(p) + i * element_bytes(t);
}
inline void* element(void* p, DType t, int64_t i) { return static_cast<char*>(p) + i * element_bytes(t); }

constexpr int64_t query_block = 64;          // queries per task, in panels of NR lanes
constexpr int64_t key_block = 72 / MR * MR;  // keys per block, which stay in cache
static_assert(query_block % NR == 0, "query_block must be a multiple of NR");

// Query i sees the keys [low(i), high(i)). Both bounds are nondecreasing in i. Consecutive queries therefore see only
// keys between the first query's low and the last one's high.
struct Mask {
  bool causal;
  int64_t window;
  const int32_t *starts = nullptr, *ends = nullptr;  // bounds of each position's document; null: one document

  int64_t low(int64_t i) const {
    int64_t at = window > 0 ? max_of<int64_t>(0, causal ? i - window + 1 : i - window / 2) : 0;
    return starts ? max_of<int64_t>(at, starts[i]) : at;
  }
  int64_t high(int64_t i, int64_t keys) const {
    int64_t at = causal ? min_of(i + 1, keys) : window > 0 ? min_of(i + window / 2 + 1, keys) : keys;
    return ends ? min_of<int64_t>(at, ends[i]) : at;
  }
};

// The keys of [key, key + n) that any of the queries [from, to) sees: [skip, seen), relative to `key`.
struct Seen {
  int64_t skip, seen;
};
inline Seen seen_keys(const Mask& mask, int64_t from, int64_t to, int64_t key, int64_t n, int64_t keys) {
  return {max_of<int64_t>(0, mask.low(from) - key), min_of(n, mask.high(to - 1, keys) - key)};
}

// Which of the keys [key, key + n) each lane of a panel sees: [first, last), relative to `key`. The bounds are floats,
// which are exact below 2^24.
struct Edges {
  bool low;   // whether some lane does not see the first key
  bool high;  // whether some lane does not see the last key
  F first[2], last[2];
};
inline Edges edges_of(const Mask& mask, int64_t query, int64_t rows, int64_t key, int64_t n, int64_t keys) {
  Edges e;
  int64_t lanes = min_of<int64_t>(rows, NR);
  e.low = mask.low(query + lanes - 1) > key;
  e.high = mask.high(query, keys) < key + n;
  if (!e.low && !e.high) return e;
  alignas(64) float first[NR], last[NR];
  for (int64_t i = 0; i < NR; ++i) {
    // Lanes beyond the end repeat the last query. Their results are not used.
    int64_t lane = query + min_of(i, lanes - 1);
    first[i] = static_cast<float>(mask.low(lane) - key), last[i] = static_cast<float>(mask.high(lane, keys) - key);
  }
  for (int half = 0; half < 2; ++half) e.first[half] = load(first + half * W), e.last[half] = load(last + half * W);
  return e;
}
HEDDLE_SIMD F masked(F s, const Edges& e, int half, float key) {
  if (e.high) s = select_lt(set1(key), e.last[half], s, set1(minus_infinity));
  if (e.low) s = select_lt(set1(key), e.first[half], set1(minus_infinity), s);
  return s;
}

struct FlashBlock {
  const void* q;  // (rows, width), rows q_stride elements apart
  DType q_type;
  int64_t q_stride, rows, position;  // position of the first query
  const void *k, *v;                 // (keys, width), rows kv_stride elements apart
  DType kv_type;
  int64_t kv_stride, keys, width;
  Mask mask;
  float scale, softcap;
  void* o;  // like q, but of o_type
  DType o_type;
  int64_t o_stride;
  float* lse;  // log-sum-exp per row, lse_stride apart; may be null
  int64_t lse_stride;
  float sink = minus_infinity;  // one more logit in the softmax denominator
  int64_t ring = 0;             // if not 0, key j is at row j mod ring
  // The page table of a paged cache, or null. With it, k and v are the whole cache. `slot` and `head` select the rows.
  const CachePlaces* places = nullptr;
  int64_t slot = 0, head = 0;
};

// Converts a q8 row of the cache (ops/q8_rows.h): `width` bytes, then their scale.
inline void widen_q8(const uint8_t* row, int64_t width, float* to) {
  const int8_t* from = reinterpret_cast<const int8_t*>(row);
  float scale;
  __builtin_memcpy(&scale, row + width, sizeof scale);
  int64_t d = 0;
  for (; d + W <= width; d += W) store(to + d, mul(load(from + d), set1(scale)));
  for (; d < width; ++d) to[d] = scale * static_cast<float>(from[d]);
}

// Converts (rows, width) of any dtype to f32 rows, `to_stride` apart. Columns from `width` on become zero. u8 means q8
// rows.
inline void load_tile(const void* from, DType type, int64_t at, int64_t stride, int64_t rows, int64_t width, float* to,
    int64_t to_stride) {
  for (int64_t r = 0; r < rows; ++r, to += to_stride, at += stride) {
    if (type == DType::f32) widen(static_cast<const float*>(from) + at, width, to);
    else if (type == DType::bf16) widen(static_cast<const bf16*>(from) + at, width, to);
    else if (type == DType::u8) widen_q8(static_cast<const uint8_t*>(from) + at, width, to);
    else widen(static_cast<const f16*>(from) + at, width, to);
    for (int64_t d = width; d < to_stride; ++d) to[d] = 0;
  }
}

// Packs rows into panels of NR, transposed to (panel, width, NR), times `factor`. Rows from `rows` to query_block
// become zero.
inline void load_panels(
    const void* from, DType type, int64_t at, int64_t stride, int64_t rows, int64_t width, float factor, float* to) {
  for (int64_t i = 0; i < query_block; i += NR, to += width * NR) {
    if (i >= rows) {
      for (int64_t s = 0; s < width * NR; s += W) store(to + s, zero());
      continue;
    }
    const char* base = static_cast<const char*>(from) + (at + i * stride) * (type == DType::f32 ? 4 : 2);
    pack_panel<NR>(base, type, stride, false, 0, 0, rows - i, width, to);
    if (factor != 1)
      for (int64_t s = 0; s < width * NR; s += W) store(to + s, mul(load(to + s), set1(factor)));
  }
}

// Maximum rows of the register tiles below. On an instruction set with bf16_pairs, f32 products only recompute single
// rows (flash_nan_fixup-inl.h), so larger tiles for f32 would not pay off. The height does not change the results.
template <bool PAIRS> constexpr int flash_tile_rows = PAIRS == bf16_pairs ? MR : 1;

// s (keys, NR) = k (keys, width) times panel (width, NR). With PAIRS, here and below, the summed dimension is stored as
// pairs of bf16 (see multiply_add), one pair per float. Its length and strides then count pairs.
template <bool PAIRS = false>
inline void score_tile(
    const float* k, int64_t k_stride, int64_t keys, int64_t width, const float* panel, float* s, int64_t s_stride) {
  constexpr int rows = flash_tile_rows<PAIRS>;
  int64_t j = 0;
  for (; j + rows <= keys; j += rows)
    micro_tile<rows, false, PAIRS>(
        width, k + j * k_stride, k_stride, panel, NR, s + j * s_stride, s_stride, nullptr, false);
  if constexpr (rows > 1)
    if (j < keys)
      micro_tile_for<false, PAIRS>(keys - j)(
          width, k + j * k_stride, k_stride, panel, NR, s + j * s_stride, s_stride, nullptr, false);
}

// acc (width, NR) += v (keys, width)^T p (keys, NR)
template <bool PAIRS = false>
inline void mix_tile(
    const float* v, int64_t v_stride, int64_t keys, int64_t width, const float* p, int64_t p_stride, float* acc) {
  constexpr int rows = flash_tile_rows<PAIRS>;
  int64_t d = 0;
  for (; d + rows <= width; d += rows)
    micro_tile<rows, true, PAIRS>(keys, v + d, v_stride, p, p_stride, acc + d * NR, NR, nullptr, true);
  if constexpr (rows > 1)
    if (d < width)
      micro_tile_for<true, PAIRS>(width - d)(keys, v + d, v_stride, p, p_stride, acc + d * NR, NR, nullptr, true);
}

HEDDLE_SIMD F capped(F s, float cap) { return mul(set1(cap), tanh(mul(s, set1(1.0f / cap)))); }

// Turns a panel s (keys, NR) of products into exp(score - max) in place, with score = scale * product. Updates the
// running maximum and sum of each lane (m, l: NR floats), and rescales acc (width, NR) if the maximum changed. With
// PAIRS the result is (keys / 2, NR) pairs of keys, padded with a zero.
template <bool PAIRS = false>
inline void softmax_panel(float* s, int64_t keys, const Edges& edges, float scale, float softcap, float* m, float* l,
    float* acc, int64_t width) {
  // With `score`, the products in s are replaced by scores before masking. Otherwise the scale is applied within exp().
  bool cut = edges.low || edges.high, score = softcap > 0 || !(scale > 0);
  F factor = set1(score ? 1 : scale);
  F old0 = load(m), old1 = load(m + W), max0 = set1(minus_infinity), max1 = max0;
  for (int64_t j = 0; j < keys; ++j) {
    F a = load(s + j * NR), b = load(s + j * NR + W);
    if (score) a = mul(a, set1(scale)), b = mul(b, set1(scale));
    if (softcap > 0) a = capped(a, softcap), b = capped(b, softcap);
    if (cut) a = masked(a, edges, 0, static_cast<float>(j)), b = masked(b, edges, 1, static_cast<float>(j));
    if (score || cut) store(s + j * NR, a), store(s + j * NR + W, b);
    max0 = max(a, max0), max1 = max(b, max1);
  }
  max0 = max(mul(max0, factor), old0), max1 = max(mul(max1, factor), old1);
  // A lane that has seen no key yet has maximum -inf. Subtracting 0 instead keeps exp(-inf) = 0 and avoids NaN.
  F none = set1(minus_infinity), lowest = set1(-3.0e38f);
  F base0 = select_lt(max0, lowest, zero(), max0), base1 = select_lt(max1, lowest, zero(), max1);
  F sum0 = zero(), sum1 = zero();
  F less0 = neg(base0), less1 = neg(base1);
  auto weight = [&](int64_t j, int half) {
    return exp_nonpositive(fma(load(s + j * NR + half * W), factor, half ? less1 : less0));
  };
#if defined(HEDDLE_SIMD_BF16)
  if (PAIRS)
    for (int64_t j = 0; j < keys; j += 2) {
      F a = weight(j, 0), b = weight(j, 1), a2 = zero(), b2 = zero();
      if (j + 1 < keys) a2 = weight(j + 1, 0), b2 = weight(j + 1, 1);
      store(s + j / 2 * NR, join_rounded(a, a2)), store(s + j / 2 * NR + W, join_rounded(b, b2));
      sum0 = add(sum0, add(a, a2)), sum1 = add(sum1, add(b, b2));
    }
#endif
  for (int64_t j = 0; !PAIRS && j < keys; ++j) {
    F a = weight(j, 0), b = weight(j, 1);
    store(s + j * NR, a), store(s + j * NR + W, b);
    sum0 = add(sum0, a), sum1 = add(sum1, b);
  }
  F shrink0 = exp_nonpositive(sub(select_lt(old0, lowest, none, old0), base0));
  F shrink1 = exp_nonpositive(sub(select_lt(old1, lowest, none, old1), base1));
  store(l, fma(load(l), shrink0, sum0)), store(l + W, fma(load(l + W), shrink1, sum1));
  store(m, max0), store(m + W, max1);
  // Skips rescaling if all factors are 1. If one is NaN, the sum is NaN, and all lanes are rescaled.
  if (reduce_add(add(sub(set1(1.0f), shrink0), sub(set1(1.0f), shrink1))) == 0) return;
  for (int64_t d = 0; d < width; ++d) {
    store(acc + d * NR, mul(load(acc + d * NR), shrink0));
    store(acc + d * NR + W, mul(load(acc + d * NR + W), shrink1));
  }
}

// Writes acc (width, NR) as rows, with each lane multiplied by its factor (NR). The rows begin at element `at` of `to`,
// `stride` elements apart.
inline void store_lanes(const float* acc, int64_t width, const float* factor, int64_t rows, void* to, DType type,
    int64_t at, int64_t stride) {
  for (int half = 0; half < 2; ++half) {
    int64_t lanes = min_of<int64_t>(W, rows - half * W);
    if (lanes <= 0) return;
    F f = load(factor + half * W);
    for (int64_t d = 0; d < width; d += W) {
      int n = static_cast<int>(min_of<int64_t>(W, width - d));
      F r[W];
      for (int c = 0; c < W; ++c) r[c] = c < n ? mul(load(acc + (d + c) * NR + half * W), f) : zero();
      transpose(r);
      for (int i = 0; i < lanes; ++i) {
        int64_t e = at + (half * W + i) * stride + d;
        if (type == DType::f32)
          n == W ? store(static_cast<float*>(to) + e, r[i]) : store_n(static_cast<float*>(to) + e, r[i], n);
        else n == W ? store(static_cast<bf16*>(to) + e, r[i]) : store_n(static_cast<bf16*>(to) + e, r[i], n);
      }
    }
  }
}

// Floats of flash_forward's scratch.
inline int64_t flash_floats(int64_t width) {
  return round_up(2 * query_block * width + 2 * key_block * width + key_block * NR + 2 * query_block, 16);
}

// Writes the output rows and lse from sums o (panels, width, NR), maxima m and sums of weights l (query_block).
inline void flash_finish(const FlashBlock& b, const float* m, const float* l, const float* o) {
  int64_t width = b.width;
  for (int64_t p = 0; p * NR < b.rows; ++p) {
    int64_t rows = min_of<int64_t>(NR, b.rows - p * NR);
    float inverse[NR];
    for (int i = 0; i < NR; ++i) inverse[i] = l[p * NR + i] > 0 ? 1 / l[p * NR + i] : 0;
    store_lanes(o + p * NR * width, width, inverse, rows, b.o, b.o_type, p * NR * b.o_stride, b.o_stride);
    if (b.lse)
      for (int64_t i = 0; i < rows; ++i) b.lse[(p * NR + i) * b.lse_stride] = m[p * NR + i] + scalar_log(l[p * NR + i]);
  }
}

// See flash_nan_fixup-inl.h.
inline void fix_nan_rows(const FlashBlock& b, float* work);

// Computes the output rows of a block. work: flash_floats(width).
inline void flash_forward(const FlashBlock& b, float* work) {
  int64_t width = b.width;
  float* q = work;                          // (panels, width, NR)
  float* o = q + query_block * width;       // (panels, width, NR)
  float* k_tile = o + query_block * width;  // (key_block, width)
  float* v_tile = k_tile + key_block * width;
  float* s = v_tile + key_block * width;  // (key_block, NR)
  float* m = s + key_block * NR;          // (query_block)
  float* l = m + query_block;
  load_panels(b.q, b.q_type, 0, b.q_stride, b.rows, width, b.scale, q);
  for (int64_t i = 0; i < query_block * width; i += W) store(o + i, zero());
  for (int64_t i = 0; i < query_block; ++i) m[i] = b.sink, l[i] = b.sink > minus_infinity ? 1 : 0;
  // Contiguous f32 keys and values are used in place.
  bool direct = b.kv_type == DType::f32 && b.kv_stride == width;
  int64_t end = b.position + b.rows;
  int64_t first = b.mask.low(b.position), last = b.mask.high(end - 1, b.keys);
  for (int64_t j = first, keys; j < last; j += keys) {
    keys = min_of(key_block, last - j);
    int64_t at = j;
    if (b.ring > 0) at = j % b.ring, keys = min_of(keys, b.ring - at);
    const float *k = k_tile, *v = v_tile;
    if (b.places) {  // blocks have the same bounds as without pages, so that results have the same bits
      for (int64_t r = j, run; r < j + keys; r += run) {
        run = min_of(j + keys - r, b.places->page - r % b.places->page);
        int64_t from = b.places->row(b.slot, b.head, r) * b.kv_stride;
        load_tile(b.k, b.kv_type, from, b.kv_stride, run, width, k_tile + (r - j) * width, width);
        load_tile(b.v, b.kv_type, from, b.kv_stride, run, width, v_tile + (r - j) * width, width);
      }
    } else if (direct) {
      k = static_cast<const float*>(b.k) + at * width, v = static_cast<const float*>(b.v) + at * width;
    } else {
      load_tile(b.k, b.kv_type, at * b.kv_stride, b.kv_stride, keys, width, k_tile, width);
      load_tile(b.v, b.kv_type, at * b.kv_stride, b.kv_stride, keys, width, v_tile, width);
    }
    for (int64_t p = 0; p * NR < b.rows; ++p) {
      int64_t query = b.position + p * NR;
      auto [skip, seen] = seen_keys(b.mask, query, min_of(query + NR, end), j, keys, b.keys);
      if (skip >= seen) continue;
      score_tile(k + skip * width, width, seen - skip, width, q + p * NR * width, s, NR);
      Edges edges = edges_of(b.mask, query, b.rows - p * NR, j + skip, seen - skip, b.keys);
      softmax_panel(s, seen - skip, edges, 1, b.softcap, m + p * NR, l + p * NR, o + p * NR * width, width);
      mix_tile(v + skip * width, width, seen - skip, width, s, NR, o + p * NR * width);
    }
  }
  flash_finish(b, m, l, o);
  if (b.rows > 1) fix_nan_rows(b, work);
}

}  // namespace HEDDLE_ISA
}  // namespace heddle
