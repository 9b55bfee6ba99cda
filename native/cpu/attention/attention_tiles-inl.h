// Attention on AMX tiles for operands that are bf16 or may be rounded to it. Other calls use the kernels without tiles.
#pragma once
#include "cpu/attention/cached_attention-inl.h"
#include "cpu/attention/flash_tiles-inl.h"
#include "cpu/isa/below-inl.h"

namespace heddle {
namespace HEDDLE_ISA {

// The query heads and query rows of one task. All of them use each packed block of keys, which makes packing cheap.
struct TileShare {
  int64_t heads, queries;
  TileShare(int64_t group) : heads(min_of<int64_t>(group, 8)), queries(heads < 3 ? 4 * panel_rows : 2 * panel_rows) {}
  int64_t panels() const { return heads * queries / panel_rows; }
};

// Number of floats for a thread's packed copies of all keys and values of a sequence. 0 if they are packed block by
// block instead.
inline int64_t tile_side_floats(const Attention& a) {
  return side_floats(a) ? ceil_div(a.length, tile_keys) * 2 * block_floats(tile_width(a.width)) : 0;
}

inline size_t attention_tiles_scratch(const Attention& a, int threads) {
  if (!a.pairs) return below.attention_scratch(a, threads);
  const int64_t work = flash_tile_floats(TileShare(a.heads / a.kv_heads).panels(), tile_width(a.width));
  return sizeof(float) * static_cast<size_t>((tile_side_floats(a) + work) * threads + document_ints(a));
}

// Packs rows [from, to) of a block of keys and values. `copy` writes them to `stage` as bf16. `room` receives the
// packed forms. Other rows of the same groups of 32 become zero.
template <class Copy>
TileKeys pack_block(int64_t from, int64_t to, int64_t padded, float* stage, float* room, const Copy& copy) {
  const int64_t depth = padded / 2, low = from / panel_rows * panel_rows, high = round_up(to, panel_rows);
  const auto form = [&](bool values) {
    clear(stage + low * depth, (from - low) * depth), clear(stage + to * depth, (high - to) * depth);
    copy(values, stage);
  };
  const TileKeys keys{room, room + block_floats(padded)};
  form(false), pack_keys(stage + low * depth, high - low, padded, room + low * depth);
  form(true), pack_values(stage + low * depth, high - low, padded, room + block_floats(padded) + low * depth);
  return keys;
}

// Recomputes output rows that NaN or infinity in masked positions has reached (flash_nan_fixup-inl.h). `keys` holds the
// keys and values that all heads share.
inline void fix_nan_heads(const TileQueries& b, FlashBlock keys, float* work) {
  for (int64_t head = 0; head < b.heads; ++head) {
    keys.q = element(b.q, b.type, head * b.width), keys.o = element(b.o, b.o_type, head * b.width),
    keys.o_stride = b.stride;
    keys.sink = sink_of(b.sinks, b.sinks_type, head);
    if (b.lse) keys.lse = b.lse + head, keys.lse_stride = b.lse_stride;
    fix_nan_rows(keys, work);
  }
}

inline void attention_tiles(const Attention& a, Pool& pool, void* scratch) {
  if (!a.pairs) return below.attention(a, pool, scratch);
  const int64_t owners = a.batch * a.kv_heads, group = a.heads / a.kv_heads, padded = tile_width(a.width),
                block = block_floats(padded);
  const TileShare share(group);
  const int64_t parts = ceil_div(group, share.heads), items = parts * ceil_div(a.length, share.queries),
                side = tile_side_floats(a);
  const int64_t q_stride = a.heads * a.width, kv_stride = a.kv_heads * a.width;
  // Splits the work on a key head into enough shares to balance the threads. Each share packs its own copies of the
  // keys.
  const int64_t shares = !owners ? 0 : side ? min_of(items, ceil_div(4 * pool.threads(), owners)) : items;
  int32_t* starts = static_cast<int32_t*>(scratch);
  if (a.documents) find_documents(a, starts);
  float* work = static_cast<float*>(scratch) + document_ints(a);
  const int64_t each = side + flash_tile_floats(share.panels(), padded);
  pool.run(owners * shares, [&](int64_t t, int thread) {
    const int64_t owner = t / shares, sequence = owner / a.kv_heads, kv_head = owner % a.kv_heads,
                  kv = sequence * a.length * kv_stride + kv_head * a.width;
    // `stage` reuses the start of `mine`: all copies are packed before a block computes.
    float *copies = work + thread * each, *mine = copies + side, *stage = mine;
    const auto pack = [&](int64_t j, int64_t from, int64_t to, float* stage, float* room) {
      return pack_block(from, to, padded, stage, room, [&](bool values, float* rows) {
        copy_rounded(values ? a.v : a.k, a.type, kv + (j + from) * kv_stride, kv_stride, to - from, a.width, padded,
            rows + from * padded / 2);
      });
    };
    for (int64_t j = 0; side && j < a.length; j += tile_keys)
      pack(j, 0, min_of(tile_keys, a.length - j), stage, copies + j / tile_keys * 2 * block);
    for (int64_t i = t % shares; i < items; i += shares) {
      const int64_t item = items - 1 - i, head = kv_head * group + item % parts * share.heads,
                    position = item / parts * share.queries;
      const int64_t row = sequence * a.length + position, qo = row * q_stride + head * a.width;
      TileQueries b{element(a.q, a.type, qo), element(a.o, a.o_type, qo), a.type, a.o_type, q_stride,
          min_of(share.queries, a.length - position), min_of(share.heads, (kv_head + 1) * group - head), position,
          a.width, a.length, mask_of(a, starts, sequence), a.scale, a.softcap,
          a.lse ? a.lse + row * a.heads + head : nullptr, a.heads,
          a.sinks ? element(a.sinks, a.sinks_type, head) : nullptr, a.sinks_type};
      flash_tiles(b, mine, [&](int64_t j, int64_t from, int64_t to, float* stage, float* room) {
        const float* at = copies + j / tile_keys * 2 * block;
        return side ? TileKeys{at, at + block} : pack(j, from, to, stage, room);
      });
      fix_nan_heads(b,
          {nullptr, a.type, q_stride, b.rows, position, element(a.k, a.type, kv), element(a.v, a.type, kv), a.type,
              kv_stride, a.length, a.width, b.mask, a.scale, a.softcap, nullptr, a.o_type, q_stride, nullptr, 0},
          mine);
    }
  });
}

inline size_t cached_attention_tiles_scratch(const CachedAttention& a, int threads) {
  const size_t other = below.cached_attention_scratch(a, threads);
  if (!fits_pairs(a)) return other;
  const int64_t each = flash_tile_floats(TileShare(a.heads / a.kv_heads).panels(), tile_width(a.width)),
                table = round_up(4 * a.segments, 16);
  const size_t own = sizeof(float) * static_cast<size_t>(threads * each);
  return (own > other ? own : other) + sizeof(int32_t) * static_cast<size_t>(table);
}

// Packs rows [from, to) of the block of cached keys and values that begins at position j of head kh.
inline TileKeys pack_cached(const CachedAttention& a, int64_t slot, int64_t kh, int64_t j, int64_t from, int64_t to,
    int64_t padded, float* stage, float* room) {
  // Number of contiguous rows.
  const int64_t run = a.places.page > 0 ? a.places.page : a.ring ? a.capacity : tile_keys;
  return pack_block(from, to, padded, stage, room, [&](bool values, float* rows) {
    for (int64_t r = from, next; r < to; r = next) {
      next = a.places.page > 0 || a.ring ? min_of(to, (j + r) / run * run + run - j) : to;
      copy_rounded(values ? a.v : a.k, a.cache_type, a.places.row(slot, kh, j + r) * a.width, a.width, next - r,
          a.width, padded, rows + r * padded / 2);
    }
  });
}

// Segments of at most direct_rows rows take the kernel without matrix tiles.
inline void cached_attention_tiles(const CachedAttention& a, Pool& pool, void* scratch) {
  if (!fits_pairs(a)) return below.cached_attention(a, pool, scratch);
  CachedAttention few = a;
  int32_t* table = static_cast<int32_t*>(scratch);
  void* work = table + round_up(4 * a.segments, 16);
  const TileShare share(a.heads / a.kv_heads);
  const int64_t group = a.heads / a.kv_heads, parts = ceil_div(group, share.heads), columns = parts * a.kv_heads;
  bool any = false;
  for (int64_t s = 0; s < a.segments; ++s) {
    const SegmentRows g = segment_rows(a, s);
    table[4 * s] = static_cast<int32_t>(g.first);
    table[4 * s + 1] = g.rows <= direct_rows ? static_cast<int32_t>(g.rows) : 0;
    table[4 * s + 2] = static_cast<int32_t>(g.slot), table[4 * s + 3] = static_cast<int32_t>(g.past);
    any = any || table[4 * s + 1] > 0;
  }
  few.segment = table;
  if (any) below.cached_attention(few, pool, work);
  const auto tasks_of = [&](int64_t s) {
    return a.segment[4 * s + 1] <= direct_rows ? 0 : columns * ceil_div(a.segment[4 * s + 1], share.queries);
  };
  int64_t tasks = 0;
  for (int64_t s = 0; s < a.segments; ++s) tasks += tasks_of(s);
  const int64_t padded = tile_width(a.width), each = flash_tile_floats(share.panels(), padded),
                q_stride = a.heads * a.width;
  pool.run(tasks, [&](int64_t t, int thread) {
    int64_t s = 0;
    for (; t >= tasks_of(s); ++s) t -= tasks_of(s);
    const SegmentRows g = segment_rows(a, s);
    // The slowest blocks come first.
    const int64_t block = ceil_div(g.rows, share.queries) - 1 - t / columns, position = block * share.queries,
                  kv_head = t % columns / parts;
    const int64_t head = kv_head * group + t % parts * share.heads,
                  qo = (g.first + position) * q_stride + head * a.width;
    const TileQueries b{element(a.q, a.type, qo), element(a.o, a.o_type, qo), a.type, a.o_type, q_stride,
        min_of(share.queries, g.rows - position), min_of(share.heads, (kv_head + 1) * group - head), g.past + position,
        a.width, g.past + g.rows, {a.causal, a.window}, a.scale, a.softcap, nullptr, 0,
        a.sinks ? element(a.sinks, a.sinks_type, head) : nullptr, a.sinks_type};
    flash_tiles(b, static_cast<float*>(work) + thread * each,
        [&](int64_t j, int64_t from, int64_t to, float* stage, float* room) {
      return pack_cached(a, g.slot, kv_head, j, from, to, padded, stage, room);
    });
    const bool paged = a.places.page > 0;
    const int64_t kv = paged ? 0 : a.places.row(g.slot, kv_head, 0) * a.width;
    fix_nan_heads(b,
        {nullptr, a.type, q_stride, b.rows, b.position, element(a.k, a.cache_type, kv), element(a.v, a.cache_type, kv),
            a.cache_type, a.width, b.keys, a.width, b.mask, a.scale, a.softcap, nullptr, a.o_type, q_stride, nullptr, 0,
            minus_infinity, a.ring ? a.capacity : 0, paged ? &a.places : nullptr, g.slot, kv_head},
        static_cast<float*>(work) + thread * each);
  });
}

}  // namespace HEDDLE_ISA
}  // namespace heddle
