// Attention of new rows over the KV cache. With few rows per segment (decoding), the rows and grouped heads that share
// a key/value head read it together, directly from the cache. Long contexts are split into parts of a fixed length
// ("Flash-Decoding", Dao et al. 2023). A result therefore depends neither on the rest of the batch nor on the number of
// threads. Segments of many rows (prompts) use blocks of queries, as in attention-inl.h.
#pragma once
#include "cpu/attention/attention-inl.h"

namespace heddle {
namespace HEDDLE_ISA {

using cpu::CachedAttention;

constexpr int64_t direct_rows = 16;  // segments of at most this many rows are decoded directly
constexpr int64_t score_keys = 64;   // keys whose scores are held at a time

// Number of keys per decoding task. Depends only on the maximum size of the cache, which is split into at most 32
// parts.
inline int64_t part_keys(const CachedAttention& a) {
  return max_of<int64_t>(512, round_up(ceil_div(max_of(a.context, a.capacity), 32), score_keys));
}

// Maximum number of parts that the rows of one segment can see. The capacity limits it, and so does a window. In a ring
// only the window does, because positions exceed the capacity.
inline int64_t max_parts(const CachedAttention& a) {
  const int64_t keys = part_keys(a), all = ceil_div(a.capacity, keys);
  if (!a.causal || a.window == 0) return all;
  const int64_t seen = ceil_div(a.window + direct_rows, keys) + 1;
  return a.ring ? seen : min_of(all, seen);
}

// Size of a decoding task's partial result per query: unnormalized output (width), maximum, sum.
inline int64_t partial_floats(int64_t width) { return width + 2; }

struct CachedPlan {
  int64_t index;     // bytes of the task table
  int64_t partials;  // floats of all partial results
  int64_t queries;   // maximum number of queries of one decoding task
  int64_t side;      // floats of one thread: f32 copy of keys and values for all heads that share them
  int64_t work;      // floats of one thread, including `side`
};
// Up to this many keys are converted to f32 once for all heads of a key/value head. The copy fits the outer cache.
constexpr int64_t side_keys = 2048;
// Whether dot products of bf16 pairs may compute attention over the cache.
inline bool fits_pairs(const CachedAttention& a) {
  return a.pairs && (a.cache_type == DType::bf16 || a.cache_type == DType::f16) && a.places.page % 2 == 0;
}
// Returns the number of heads that one task processes, from one copy of their keys and values.
inline int64_t heads_at_once(const CachedAttention& a, int64_t keys) {
  const bool copies = a.cache_type != DType::f32 && !a.ring && a.places.page == 0;
  return copies && keys <= side_keys ? a.heads / a.kv_heads : 1;
}
inline CachedPlan plan_cached(const CachedAttention& a) {
  CachedPlan p;
  p.index = round_up((a.segments + 1) * static_cast<int64_t>(2 * sizeof(int64_t)), 64);
  int64_t parts = max_parts(a), rows = a.segments * direct_rows;
  p.partials = parts > 1 ? round_up(rows * a.heads * parts * partial_floats(a.width), 16) : 0;
  p.queries = direct_rows * (a.heads / a.kv_heads);
  p.side = heads_at_once(a, 0) > 1 ? 2 * min_of(a.capacity, side_keys) * a.width : 0;
  p.work = p.side + max_of(round_up(p.queries * (2 * a.width + 2), 16) + 2 * score_keys * a.width,
                        max_of(flash_floats(a.width), flash_pair_floats(a.width)));
  return p;
}
inline size_t cached_attention_scratch(const CachedAttention& a, int threads) {
  if (bf16_pairs && !fits_pairs(a)) return below.cached_attention_scratch(a, threads);
  CachedPlan p = plan_cached(a);
  return static_cast<size_t>(p.index) + sizeof(float) * static_cast<size_t>(threads * p.work + p.partials);
}

struct SegmentRows {
  int64_t first, rows, slot, past;
};
inline SegmentRows segment_rows(const CachedAttention& a, int64_t g) {
  const int32_t* s = a.segment + 4 * g;
  return {s[0], s[1], s[2], s[3]};
}

// Returns the scores of W keys from k on for one query.
template <class T> HEDDLE_SIMD F score_keys_of(const T* k, int64_t width, const float* q) {
  F r[W];
#pragma GCC unroll 16
  for (int j = 0; j < W; ++j) r[j] = zero();
  int64_t d = 0;
  for (; d + W <= width; d += W) {
    F x = load(q + d);
#pragma GCC unroll 16
    for (int j = 0; j < W; ++j) r[j] = fma(x, load(k + j * width + d), r[j]);
  }
  if (d < width) {
    int n = static_cast<int>(width - d);
    F x = load_n(q + d, n);
    for (int j = 0; j < W; ++j) r[j] = fma(x, load_n(k + j * width + d, n), r[j]);
  }
  return sum_lanes(r);
}
template <class T> HEDDLE_SIMD float score_key(const T* k, int64_t width, const float* q) {
  F sum = zero();
  int64_t d = 0;
  for (; d + W <= width; d += W) sum = fma(load(q + d), load(k + d), sum);
  if (d < width) sum = fma(load_n(q + d, static_cast<int>(width - d)), load_n(k + d, static_cast<int>(width - d)), sum);
  return reduce_add(sum);
}

// o (width) = o * shrink + p (keys) v (keys, width)
template <int C, class T>
HEDDLE_SIMD void mix_columns(const float* p, const T* v, int64_t keys, int64_t width, float shrink, float* o) {
  F even[C], odd[C];  // even and odd keys have separate sums, because each multiply-add waits for the previous one
#pragma GCC unroll 4
  for (int c = 0; c < C; ++c) even[c] = mul(load(o + c * W), set1(shrink)), odd[c] = zero();
  int64_t j = 0;
  for (; j + 2 <= keys; j += 2) {
    const F p0 = set1(p[j]), p1 = set1(p[j + 1]);
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) {
      even[c] = fma(p0, load(v + j * width + c * W), even[c]);
      odd[c] = fma(p1, load(v + (j + 1) * width + c * W), odd[c]);
    }
  }
  if (j < keys) {
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) even[c] = fma(set1(p[j]), load(v + j * width + c * W), even[c]);
  }
#pragma GCC unroll 4
  for (int c = 0; c < C; ++c) store(o + c * W, add(even[c], odd[c]));
}
template <class T>
inline void mix_keys(const float* p, const T* v, int64_t keys, int64_t width, float shrink, float* o) {
  int64_t d = 0;
  for (; d + 4 * W <= width; d += 4 * W) mix_columns<4>(p, v + d, keys, width, shrink, o + d);
  switch ((width - d) / W) {
    case 3: mix_columns<3>(p, v + d, keys, width, shrink, o + d), d += 3 * W; break;
    case 2: mix_columns<2>(p, v + d, keys, width, shrink, o + d), d += 2 * W; break;
    case 1: mix_columns<1>(p, v + d, keys, width, shrink, o + d), d += W; break;
    default: break;
  }
  for (; d < width; d += W) {
    int n = static_cast<int>(min_of<int64_t>(W, width - d));
    F acc = mul(load_n(o + d, n), set1(shrink));
    for (int64_t j = 0; j < keys; ++j) acc = fma(set1(p[j]), load_n(v + j * width + d, n), acc);
    store_n(o + d, acc, n);
  }
}

// The keys and values after the current block. They are prefetched during the computation, because the contiguous data
// of one head is too short for hardware prefetchers. fetch() does nothing if the pointers are null.
struct NextKeys {
  const char *k = nullptr, *v = nullptr;
  void fetch(int64_t from, int64_t to) const {  // bytes
    if (!k) return;
    for (int64_t b = from; b < to; b += 64) fetch_stream(k + b), fetch_stream(v + b);
  }
};

// Processes n <= score_keys keys of one head for one query: updates the maximum m, the sum l and the output o (width).
template <class T>
inline void attend_keys(const float* q, const T* k, const T* v, int64_t n, int64_t width, float softcap, float& m,
    float& l, float* o, NextKeys soon) {
  alignas(64) float s[score_keys];
  const int64_t row_bytes = width * static_cast<int64_t>(sizeof(T));
  int64_t i = 0;
  for (; i + W <= n; i += W) {
    soon.fetch(i * row_bytes, (i + W) * row_bytes);
    store(s + i, score_keys_of(k + i * width, width, q));
  }
  for (; i < n; ++i) s[i] = score_key(k + i * width, width, q);
  for (; i < round_up(n, W); ++i) s[i] = minus_infinity;
  F top = set1(m);
  for (i = 0; i < n; i += W) {
    F x = load(s + i);
    if (softcap > 0) {
      x = capped(x, softcap);
      if (i + W > n) store_n(s + i, x, static_cast<int>(n - i)), x = load(s + i);
      else store(s + i, x);
    }
    top = max(x, top);
  }
  float peak = reduce_max(top);
  F sum = zero(), base = set1(peak);
  for (i = 0; i < n; i += W) {
    F x = exp_nonpositive(sub(load(s + i), base));
    store(s + i, x);
    sum = add(sum, x);
  }
  float t[W];
  store(t, exp_nonpositive(set1(m - peak)));
  l = l * t[0] + reduce_add(sum);
  m = peak;
  mix_keys(s, v, n, width, t[0], o);
}

inline void store_output(const CachedAttention& a, int64_t row, int64_t head, const float* o, float factor) {
  int64_t at = (row * a.heads + head) * a.width;
  for (int64_t d = 0; d < a.width; d += W) {
    int n = static_cast<int>(min_of<int64_t>(W, a.width - d));
    F v = mul(load_n(o + d, n), set1(factor));
    if (a.o_type == DType::f32) store_n(static_cast<float*>(a.o) + at + d, v, n);
    else store_n(static_cast<bf16*>(a.o) + at + d, v, n);
  }
}

// The range [first, last) of parts of the context that contains all keys visible to a segment's rows.
struct Parts {
  int64_t first, last;
  int64_t count() const { return last - first; }
};
inline Parts parts_of(const CachedAttention& a, const SegmentRows& g) {
  int64_t keys = part_keys(a), last = max_of<int64_t>(1, ceil_div(g.past + g.rows, keys));
  return {min_of(Mask{a.causal, a.window}.low(g.past) / keys, last - 1), last};
}

// Converts `rows` rows of keys or values from element `at` on to f32. Also prefetches the same number of bytes from
// `soon` on, which are needed next. NextKeys says why.
inline void widen_rows(
    const CachedAttention& a, const void* from, int64_t at, int64_t stride, int64_t rows, float* to, const void* soon) {
  constexpr int64_t step = 8;
  const int64_t row_bytes = stride * element_bytes(a.cache_type);
  for (int64_t r = 0; r < rows; r += step) {
    const int64_t count = min_of(step, rows - r);
    const char* line = static_cast<const char*>(soon) + r * row_bytes;
    for (int64_t b = 0; b < count * row_bytes; b += 64) fetch_stream(line + b);
    load_tile(from, a.cache_type, at + r * stride, stride, count, a.width, to + r * a.width, a.width);
  }
}

// Processes part `part` of a segment's context, for all its rows and all heads of key/value head kh. `partials`
// receives partial results; null if the context has one part only.
inline void decode_task(const CachedAttention& a, const SegmentRows& g, int64_t kh, int64_t part, const Parts& parts,
    float* partials, float* work) {
  int64_t group = a.heads / a.kv_heads, width = a.width, queries = g.rows * group, length = g.past + g.rows;
  bool q8 = a.cache_type == DType::u8;
  int64_t stride = q8 ? width + 4 : width;
  Mask mask{a.causal, a.window};
  float* q = work;
  float* o = q + queries * width;
  float* m = o + queries * width;
  float* l = m + queries;
  float* k_tile = work + round_up(queries * (2 * width + 2), 16);  // (score_keys, width)
  float* v_tile = k_tile + score_keys * width;
  int64_t begin = part * part_keys(a), end = parts.count() > 1 ? min_of(length, begin + part_keys(a)) : length;
  if (parts.count() == 1) begin = 0;
  // Starts at a multiple of score_keys. The order of a query's sums then does not depend on the segment's other rows.
  begin = max_of(begin, mask.low(g.past) / score_keys * score_keys);
  bool scattered = a.places.page > 0 && a.places.page < score_keys;  // one block of keys spans several pages
  bool convert = q8 || scattered || (a.cache_type != DType::f32 && queries > 1);
  for (int64_t r = 0; r < g.rows; ++r)
    load_tile(
        a.q, a.type, ((g.first + r) * a.heads + kh * group) * width, width, group, width, q + r * group * width, width);
  for (int64_t i = 0; i < queries * width; ++i) q[i] *= a.scale, o[i] = 0;
  for (int64_t i = 0; i < queries; ++i) {  // only the first part includes the sink
    m[i] = part == parts.first ? sink_of(a.sinks, a.sinks_type, kh * group + i % group) : minus_infinity;
    l[i] = m[i] > minus_infinity ? 1 : 0;
  }
  // This is the outermost loop, so that keys are read from memory once for all queries.
  for (int64_t j = begin; j < end; j += score_keys) {
    int64_t from = max_of(j, mask.low(g.past)), to = min_of(j + score_keys, end);
    // Element index of key j. Keys before `from` may have been evicted from the window and are not read.
    int64_t at = scattered ? 0 : a.places.row(g.slot, kh, j) * stride;
    for (int64_t r = from, end_of_run; convert && r < to; r = end_of_run) {
      end_of_run = scattered ? min_of(to, (r / a.places.page + 1) * a.places.page) : to;
      int64_t run = scattered ? a.places.row(g.slot, kh, r) * stride : at + (r - j) * stride;
      const int64_t rows = end_of_run - r,
                    next = end_of_run < end && !scattered ? a.places.row(g.slot, kh, end_of_run) * stride : run;
      widen_rows(a, a.k, run, stride, rows, k_tile + (r - j) * width, element(a.v, a.cache_type, run));
      widen_rows(a, a.v, run, stride, rows, v_tile + (r - j) * width, element(a.k, a.cache_type, next));
    }
    NextKeys soon;
    if (!convert && j + score_keys < end) {
      const int64_t next = a.places.row(g.slot, kh, j + score_keys) * stride;
      soon = {static_cast<const char*>(element(a.k, a.cache_type, next)),
          static_cast<const char*>(element(a.v, a.cache_type, next))};
    }
    for (int64_t i = 0; i < queries; ++i) {
      int64_t position = g.past + i / group;
      int64_t first = max_of(j, mask.low(position)) - j, last = min_of(to, mask.high(position, length)) - j;
      if (first >= last) continue;
      auto attend = [&](const auto* k, const auto* v) {
        attend_keys(q + i * width, k + first * width, v + first * width, last - first, width, a.softcap, m[i], l[i],
            o + i * width, soon);
        soon = {};
      };
      if (convert) attend(k_tile, v_tile);
      else if (a.cache_type == DType::f32)
        attend(static_cast<const float*>(a.k) + at, static_cast<const float*>(a.v) + at);
      else if (a.cache_type == DType::bf16)
        attend(static_cast<const bf16*>(a.k) + at, static_cast<const bf16*>(a.v) + at);
      else attend(static_cast<const f16*>(a.k) + at, static_cast<const f16*>(a.v) + at);
    }
  }
  for (int64_t i = 0; i < queries; ++i) {
    int64_t row = i / group, head = kh * group + i % group;
    if (parts.count() == 1) {
      store_output(a, g.first + row, head, o + i * width, 1 / l[i]);
      continue;
    }
    float* to = partials + ((row * a.heads + head) * parts.count() + part - parts.first) * partial_floats(width);
    for (int64_t d = 0; d < width; ++d) to[d] = o[i * width + d];
    to[width] = m[i], to[width + 1] = l[i];
  }
}

// Merges the partial results of one query, in order. Overwrites the first part's output.
inline void join_parts(const CachedAttention& a, int64_t row, int64_t head, int64_t parts, float* partials) {
  int64_t stride = partial_floats(a.width), width = a.width;
  float peak = minus_infinity, sum = 0;
  for (int64_t p = 0; p < parts; ++p) peak = max_of(peak, partials[p * stride + width]);
  for (int64_t p = 0; p < parts; ++p) {
    float* part = partials + p * stride;
    alignas(64) float t[W];
    store(t, exp_nonpositive(set1(part[width] - peak)));
    sum += part[width + 1] * t[0];
    for (int64_t d = 0; d < width; ++d) partials[d] = p == 0 ? part[d] * t[0] : partials[d] + part[d] * t[0];
  }
  store_output(a, row, head, partials, 1 / sum);
}

inline void cached_attention(const CachedAttention& a, Pool& pool, void* scratch) {
  if (bf16_pairs && !fits_pairs(a)) return below.cached_attention(a, pool, scratch);
  CachedPlan plan = plan_cached(a);
  int64_t* first_task = static_cast<int64_t*>(scratch);  // (segments + 1): prefix sums of tasks
  int64_t* first_partial = first_task + a.segments + 1;  // (segments + 1): prefix sums of floats in partials
  float* partials = reinterpret_cast<float*>(static_cast<char*>(scratch) + plan.index);
  float* work = partials + plan.partials;
  auto is_direct = [](const SegmentRows& g) { return g.rows <= direct_rows; };
  first_task[0] = first_partial[0] = 0;
  for (int64_t s = 0; s < a.segments; ++s) {
    SegmentRows g = segment_rows(a, s);
    int64_t parts = parts_of(a, g).count();
    bool direct = is_direct(g);
    first_task[s + 1] =
        first_task[s] + (g.rows <= 0 ? 0
                            : direct ? a.kv_heads * parts
                                     : a.heads / heads_at_once(a, g.past + g.rows) * ceil_div(g.rows, query_block));
    first_partial[s + 1] =
        first_partial[s] + (direct && parts > 1 ? g.rows * a.heads * parts * partial_floats(a.width) : 0);
  }
  auto segment_of = [&](int64_t task) {  // the last segment that starts at or before the task
    int64_t low = 0, high = a.segments;
    while (high - low > 1) {
      int64_t middle = (low + high) / 2;
      if (first_task[middle] <= task) low = middle;
      else high = middle;
    }
    return low;
  };
  pool.run(first_task[a.segments], [&](int64_t t, int thread) {
    int64_t s = segment_of(t), local = t - first_task[s];
    SegmentRows g = segment_rows(a, s);
    float* mine = work + thread * plan.work;
    if (is_direct(g)) {
      Parts parts = parts_of(a, g);
      decode_task(
          a, g, local / parts.count(), parts.first + local % parts.count(), parts, partials + first_partial[s], mine);
      return;
    }
    const int64_t at_once = heads_at_once(a, g.past + g.rows), columns = a.heads / at_once;
    int64_t blocks = ceil_div(g.rows, query_block), block = blocks - 1 - local / columns,
            row = g.first + block * query_block;
    int64_t kv_stride = a.cache_type == DType::u8 ? a.width + 4 : a.width, q_stride = a.heads * a.width,
            kv_head = local % columns * at_once / (a.heads / a.kv_heads);
    bool paged = a.places.page > 0;
    int64_t kv = paged ? 0 : a.places.row(g.slot, kv_head, 0) * kv_stride;
    FlashBlock b{nullptr, a.type, q_stride, min_of(query_block, g.rows - block * query_block),
        g.past + block * query_block, element(a.k, a.cache_type, kv), element(a.v, a.cache_type, kv), a.cache_type,
        kv_stride, g.past + g.rows, a.width, {a.causal, a.window}, a.scale, a.softcap, nullptr, a.o_type, q_stride,
        nullptr, 0, minus_infinity, a.ring ? a.capacity : 0, paged ? &a.places : nullptr, g.slot, kv_head};
    const int64_t depth = ceil_div(a.width, 2);
    PairCopy pairs{mine, mine + plan.side / 2};
    if (at_once > 1 && bf16_pairs) {
      const int64_t low = b.mask.low(b.position) / 2 * 2, seen = b.mask.high(b.position + b.rows - 1, b.keys) - low;
      copy_pairs(element(b.k, a.cache_type, low * kv_stride), element(b.v, a.cache_type, low * kv_stride), a.cache_type,
          kv_stride, seen, a.width, mine + low * depth, mine + plan.side / 2 + low / 2 * a.width);
    } else if (at_once > 1) {
      const int64_t low = b.mask.low(b.position), seen = b.mask.high(b.position + b.rows - 1, b.keys) - low;
      float *keys = mine, *values = mine + plan.side / 2;
      load_tile(a.k, a.cache_type, kv + low * kv_stride, kv_stride, seen, a.width, keys + low * a.width, a.width);
      load_tile(a.v, a.cache_type, kv + low * kv_stride, kv_stride, seen, a.width, values + low * a.width, a.width);
      b.k = keys, b.v = values, b.kv_type = DType::f32, b.kv_stride = a.width;
    }
    for (int64_t head = local % columns * at_once, end = head + at_once; head < end; ++head) {
      const int64_t qo = (row * a.heads + head) * a.width;
      b.q = element(a.q, a.type, qo), b.o = element(a.o, a.o_type, qo), b.sink = sink_of(a.sinks, a.sinks_type, head);
      if constexpr (bf16_pairs) flash_forward_pairs(b, at_once > 1 ? &pairs : nullptr, mine + plan.side);
      else flash_forward(b, mine + plan.side);
    }
  });
  if (first_partial[a.segments] == 0) return;
  for (int64_t s = 0; s < a.segments; ++s) {
    SegmentRows g = segment_rows(a, s);
    int64_t parts = parts_of(a, g).count();
    if (!is_direct(g) || parts == 1) continue;
    pool.range(g.rows * a.heads, 4, [&](int64_t from, int64_t to, int) {
      for (int64_t i = from; i < to; ++i)
        join_parts(a, g.first + i / a.heads, i % a.heads, parts,
            partials + first_partial[s] + i * parts * partial_floats(a.width));
    });
  }
}

}  // namespace HEDDLE_ISA
}  // namespace heddle
