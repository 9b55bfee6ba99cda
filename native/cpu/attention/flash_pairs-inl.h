// FlashAttention as in flash-inl.h, with bf16 dot products. An instruction multiplies a pair at a time: two elements of
// a head, or two keys. Softmax weights are rounded to bf16 before they multiply the values. Their sum is not rounded.
#pragma once
#include "cpu/attention/flash-inl.h"
#include "cpu/attention/flash_nan_fixup-inl.h"

namespace heddle {
namespace HEDDLE_ISA {

#if defined(HEDDLE_SIMD_BF16)
// Copies rows of any float type as bf16 pairs of neighboring elements. Elements from `width` on are zero.
template <class T>
void copy_element_pairs(const T* from, int64_t stride, int64_t rows, int64_t width, float* to, int64_t to_stride) {
  for (int64_t r = 0; r < rows; ++r, from += stride, to += to_stride)
    for (int64_t d = 0; d < to_stride; d += W) {
      int64_t left = width - 2 * d, keep = min_of<int64_t>(W, to_stride - d);
      F v = left >= 2 * W ? load_pairs(from + 2 * d) : load_pairs_n(from + 2 * d, max_of<int64_t>(0, left));
      keep == W ? store(to + d, v) : store_n(to + d, v, static_cast<int>(keep));
    }
}
// Copies rows as (ceil(rows / 2), to_stride) pairs of neighboring rows. Elements beyond `rows` and `width` become
// zero.
template <class T>
void copy_row_pairs(const T* from, int64_t stride, int64_t rows, int64_t width, float* to, int64_t to_stride) {
  for (int64_t r = 0; r < rows; r += 2, from += 2 * stride, to += to_stride)
    for (int64_t d = 0; d < to_stride; d += W) {
      int64_t left = max_of<int64_t>(0, width - d), keep = min_of<int64_t>(W, to_stride - d);
      const T *low = from + d, *high = r + 1 < rows ? low + stride : nullptr;
      F v = left >= W && high ? join_pairs(low, high)
                              : join_pairs_n(low, high, static_cast<int>(min_of<int64_t>(W, left)));
      keep == W ? store(to + d, v) : store_n(to + d, v, static_cast<int>(keep));
    }
}
#else
template <class T> void copy_element_pairs(const T*, int64_t, int64_t, int64_t, float*, int64_t) {}
template <class T> void copy_row_pairs(const T*, int64_t, int64_t, int64_t, float*, int64_t) {}
#endif

// Sizes in floats: key_floats of the keys, pair_floats of keys and values together.
inline int64_t key_floats(int64_t keys, int64_t width) { return keys * ceil_div(width, 2); }
inline int64_t pair_floats(int64_t keys, int64_t width) { return key_floats(keys, width) + ceil_div(keys, 2) * width; }
// Copies keys to `keys` and values to `values` as bf16 pairs. The source may be any float type.
inline void copy_pairs(
    const void* k, const void* v, DType type, int64_t stride, int64_t rows, int64_t width, float* keys, float* values) {
  const auto copy = [&](const auto* from_k, const auto* from_v) {
    copy_element_pairs(from_k, stride, rows, width, keys, ceil_div(width, 2));
    copy_row_pairs(from_v, stride, rows, width, values, width);
  };
  if (type == DType::f32) copy(static_cast<const float*>(k), static_cast<const float*>(v));
  else if (type == DType::f16) copy(static_cast<const f16*>(k), static_cast<const f16*>(v));
  else copy(static_cast<const bf16*>(k), static_cast<const bf16*>(v));
}

// Packs query rows into panels of NR rows, as bf16 pairs of elements: (panel, ceil(width / 2), NR). Rows from `rows` to
// query_block are zero.
template <class T> void load_pair_panels(const T* from, int64_t stride, int64_t rows, int64_t width, float* to) {
  int64_t depth = ceil_div(width, 2);
  for (int64_t i = 0; i < query_block; i += NR, to += depth * NR) {
#if defined(HEDDLE_SIMD_BF16)
    if (i < rows) {
      pack_pair_rows<NR>(from + i * stride, stride, rows - i, width, to);
      continue;
    }
#else
    (void)from, (void)stride, (void)rows;
#endif
    for (int64_t s = 0; s < depth * NR; s += W) store(to + s, zero());
  }
}

static_assert(key_block % 2 == 0, "a block must hold whole pairs of keys");

inline int64_t flash_pair_floats(int64_t width) {
  int64_t panels = query_block * (ceil_div(width, 2) + width);
  // fix_nan_rows recomputes rows with flash_forward, which needs flash_floats(width).
  return max_of(
      flash_floats(width), round_up(panels + pair_floats(key_block, width) + key_block * NR + 2 * query_block, 16));
}

// Keys and values as copy_pairs stores them: one row per key in `keys`, one row per pair of keys in `values`.
struct PairCopy {
  const float *keys, *values;
};

// Like flash_forward, but rounds keys and values of any float type to bf16. Rings and pages must hold an even number of
// keys. `copy`: all keys and values that b sees, or null. work: flash_pair_floats(width).
inline void flash_forward_pairs(const FlashBlock& b, const PairCopy* copy, float* work) {
  int64_t width = b.width, depth = ceil_div(width, 2);
  float* q = work;                                  // (panels, depth, NR)
  float* o = q + query_block * depth;               // (panels, width, NR)
  float* tile = o + query_block * width;            // keys and values of a block
  float* s = tile + pair_floats(key_block, width);  // (key_block, NR)
  float* m = s + key_block * NR;                    // (query_block)
  float* l = m + query_block;
  if (b.q_type == DType::f32) load_pair_panels(static_cast<const float*>(b.q), b.q_stride, b.rows, width, q);
  else load_pair_panels(static_cast<const bf16*>(b.q), b.q_stride, b.rows, width, q);
  for (int64_t i = 0; i < query_block * width; i += W) store(o + i, zero());
  for (int64_t i = 0; i < query_block; ++i) m[i] = b.sink, l[i] = b.sink > minus_infinity ? 1 : 0;
  int64_t end = b.position + b.rows;
  int64_t first = b.mask.low(b.position) / 2 * 2, last = b.mask.high(end - 1, b.keys);
  for (int64_t j = first, keys; j < last; j += keys) {
    keys = min_of(key_block, last - j);
    const float *k = tile, *v = tile + key_floats(key_block, width);
    // Copies `run` contiguous rows from row `at` on. `run` is even, except at the end of the keys.
    const auto load_run = [&](int64_t key, int64_t at, int64_t run) {
      copy_pairs(element(b.k, b.kv_type, at * b.kv_stride), element(b.v, b.kv_type, at * b.kv_stride), b.kv_type,
          b.kv_stride, run, width, tile + key * depth, tile + key_floats(key_block, width) + key / 2 * width);
    };
    if (copy) {
      k = copy->keys + j * depth, v = copy->values + j / 2 * width;
    } else if (b.places) {
      for (int64_t r = j, run; r < j + keys; r += run) {
        run = min_of(j + keys - r, b.places->page - r % b.places->page);
        load_run(r - j, b.places->row(b.slot, b.head, r), run);
      }
    } else if (b.ring > 0) {
      keys = min_of(keys, b.ring - j % b.ring);
      load_run(0, j % b.ring, keys);
    } else {
      load_run(0, j, keys);
    }
    for (int64_t p = 0; p * NR < b.rows; ++p) {
      int64_t query = b.position + p * NR;
      auto [skip, seen] = seen_keys(b.mask, query, min_of(query + NR, end), j, keys, b.keys);
      if (skip >= seen) continue;
      skip = skip / 2 * 2;  // begins at a whole pair; a surplus key is masked
      score_tile<true>(k + skip * depth, depth, seen - skip, depth, q + p * NR * depth, s, NR);
      Edges edges = edges_of(b.mask, query, b.rows - p * NR, j + skip, seen - skip, b.keys);
      softmax_panel<true>(s, seen - skip, edges, b.scale, b.softcap, m + p * NR, l + p * NR, o + p * NR * width, width);
      mix_tile<true>(v + skip / 2 * width, width, ceil_div(seen - skip, 2), width, s, NR, o + p * NR * width);
    }
  }
  flash_finish(b, m, l, o);
  fix_nan_rows(b, work);
}

}  // namespace HEDDLE_ISA
}  // namespace heddle
