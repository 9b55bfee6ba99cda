// Programs with attention over whole sequences, and over the key/value cache.
#pragma once
#include <algorithm>

#include "builder.h"

namespace heddle {
namespace cases {

// Forward pass and gradients. T: rows per sequence, H: query heads, KH: key heads, D: head width.
inline Builder attention(DType type, int64_t T, int64_t H, int64_t KH, int64_t D, double window, bool sinks = false,
    double softcap = 0, int64_t sequences = 2, bool causal = true) {
  Builder b;
  const int64_t N = sequences * T;
  const int q = b.floats(type, {N, H, D}), k = b.floats(type, {N, KH, D}), v = b.floats(type, {N, KH, D});
  const int dout = b.floats(type, {N, H, D}), o = b.value(type, {N, H, D}), lse = b.value(DType::f32, {N, H});
  const int sink = sinks ? b.floats(DType::f32, {H}) : -1;
  b.node("attention", {q, k, v, -1, sink}, {o, lse},
      {{"sequenceLength", static_cast<double>(T)}, {"causal", causal}, {"window", window}, {"scale", 0.6},
          {"softcap", softcap}});
  b.node("attention_backward", {dout, q, k, v, o, lse, -1, sink},
      {b.value(type, {N, H, D}), b.value(type, {N, KH, D}), b.value(type, {N, KH, D})},
      {{"sequenceLength", static_cast<double>(T)}, {"causal", causal}, {"window", window}, {"scale", 0.6},
          {"softcap", softcap}});
  if (sinks) b.node("attention_sinks_backward", {dout, o, lse, sink}, {b.value(DType::f32, {H})}, {});
  return b;
}

// Two sequences, each packed with documents of different lengths. Document -1 is padding between and after them: its
// rows do not attend, and no row attends to them. Without a causal mask, rows attend to their whole document.
inline Builder packed(
    DType type, int64_t T, int64_t H, int64_t KH, int64_t D, bool causal, double window = 0, bool gradients = true) {
  Builder b;
  std::vector<int32_t> of_rows;
  const int64_t lengths[2][6] = {{T / 2 + 3, 1, 7, T / 8, T / 5, 2}, {1, T / 6, T / 3, 70, 5, T / 4}};
  for (int sequence = 0; sequence < 2; ++sequence)
    for (int document = 0; document < 7; ++document) {
      const int64_t left = T * (sequence + 1) - static_cast<int64_t>(of_rows.size()),
                    wanted = document < 6 ? lengths[sequence][document] : left;
      of_rows.insert(of_rows.end(), static_cast<size_t>(wanted < left ? wanted : left),
          document == 2 || document == 6 ? -1 : 10 - document);
    }
  const int q = b.floats(type, {2 * T, H, D}), k = b.floats(type, {2 * T, KH, D}), v = b.floats(type, {2 * T, KH, D}),
            dout = b.floats(type, {2 * T, H, D});
  const int documents = b.integers({2 * T}, of_rows), o = b.value(type, {2 * T, H, D}),
            lse = b.value(DType::f32, {2 * T, H});
  const std::initializer_list<std::pair<const char*, double>> attributes = {{"sequenceLength", static_cast<double>(T)},
      {"causal", causal}, {"window", window}, {"scale", 0.6}, {"softcap", 0}};
  b.node("attention", {q, k, v, documents, -1}, {o, lse}, attributes);
  if (!gradients) return b;
  b.node("attention_backward", {dout, q, k, v, o, lse, documents, -1},
      {b.value(type, {2 * T, H, D}), b.value(type, {2 * T, KH, D}), b.value(type, {2 * T, KH, D})}, attributes);
  return b;
}

// Forward pass only, for N / T sequences.
inline Builder attention_forward(
    int64_t N, int64_t T, int64_t H, int64_t KH, int64_t D, double window, double softcap, bool sinks) {
  Builder b;
  const DType type = DType::bf16;
  const int q = b.floats(type, {N, H, D}), k = b.floats(type, {N, KH, D}), v = b.floats(type, {N, KH, D});
  const int sink = sinks ? b.floats(DType::f32, {H}) : -1;
  b.node("attention", {q, k, v, -1, sink}, {b.value(type, {N, H, D}), b.value(DType::f32, {N, H})},
      {{"sequenceLength", static_cast<double>(T)}, {"causal", 1}, {"window", window}, {"scale", 0.6},
          {"softcap", softcap}});
  return b;
}

// One sequence of `rows` new rows after `past` cached ones. type: the type of queries and outputs. cache: the type of
// keys and values. A segment is (first row, number of rows, slot, past).
inline Builder cached(int64_t past, int64_t D, int64_t rows, DType type = DType::f32, DType cache = DType::f32) {
  Builder b;
  const int64_t L = past + rows;
  const int q = b.floats(type, {rows, 4, D}), k = b.floats(cache, {2, 2, L, D}), v = b.floats(cache, {2, 2, L, D});
  const int segments = b.integers({1, 4}, {0, static_cast<int32_t>(rows), 1, static_cast<int32_t>(past)});
  b.node("cached_attention", {q, k, v, segments}, {b.value(type, {rows, 4, D})},
      {{"causal", 1}, {"window", 0}, {"scale", 0.5}, {"softcap", 0}});
  return b;
}

// Four segments over the caches of two of three sequences, with sinks and a window. The window is shorter than the
// longest sequence. The last segment shares a row with the segment before it.
inline Builder cached_window(DType type, DType cache, int64_t D, int64_t H, int64_t KH, double softcap) {
  Builder b;
  const int64_t L = 460, rows = 9;
  const int q = b.floats(type, {rows, H, D}), k = b.floats(cache, {3, KH, L, D}), v = b.floats(cache, {3, KH, L, D}),
            sinks = b.floats(DType::f32, {H});
  const int segments = b.integers({4, 4}, {0, 4, 2, 430, 4, 1, 1, 3, 5, 4, 0, 215, 8, 1, 1, 90});
  b.node("cached_attention", {q, k, v, segments, sinks}, {b.value(type, {rows, H, D})},
      {{"causal", 1}, {"window", 226}, {"scale", 0.5}, {"softcap", softcap}});
  return b;
}

struct PromptOptions {
  double window = 0, softcap = 0;
  int64_t page = 0;  // positions per page, or 0
  bool ring = false, sinks = false, causal = true;
  bool rounded = false;  // operands may round to bf16
  int32_t earlier = 0;   // positions before those of the first chunk, without a ring
};
// Two chunks of prompts, of 75 and 40 rows, and two decode steps, over the caches of three sequences. Each decode step
// shares its row with a chunk: the first decode step precedes its chunk, the other one follows it. Pages are not in the
// order of positions. The table has no pages beyond a sequence's end.
inline Builder prompts(DType type, DType cache, int64_t H, int64_t KH, int64_t D, PromptOptions o) {
  Builder b;
  const int64_t rows = 115, whole = 200 + o.earlier,
                L = o.ring       ? 130
                    : o.page > 0 ? (whole + o.page - 1) / o.page * o.page
                                 : whole;
  const int32_t past[4] = {o.ring ? 1000 : 96 + o.earlier, o.ring ? 700 : 180, o.ring ? 118 : 3, 20};
  const int64_t entries = o.page > 0 ? L / o.page : 0, pages = 3 * entries + 2;
  const int64_t lengths[3] = {past[1] + 1, past[2] + 40, past[0] + 75};
  // Rows of the cache that no sequence has written are NaN. A kernel that uses one gives a wrong result.
  const auto store = [&] {
    if (o.ring) return b.floats(cache, {3, KH, L, D});
    const int64_t places = o.page > 0 ? pages : 3, size = o.page > 0 ? o.page : L;
    const int value = b.floats(cache, {places, KH, size, D});
    for (int64_t i = 0; i < places; ++i) {
      // The inverse of the page table below: page i has entry n / 3 of slot n % 3.
      const int64_t n = pages - 1 - i, slot = o.page > 0 ? n % 3 : i, begin = o.page > 0 ? n / 3 * size : 0,
                    written = std::min(std::max<int64_t>(lengths[slot] - begin, 0), size);
      for (int64_t head = 0; head < KH; ++head) b.forget(((i * KH + head) * size + written) * D, (size - written) * D);
    }
    return value;
  };
  const int q = b.floats(type, {rows, H, D}), k = store(), v = store(),
            sinks = o.sinks ? b.floats(DType::f32, {H}) : -1;
  const int segments =
      b.integers({4, 4}, {0, 75, 2, past[0], 75, 1, 0, past[1], 75, 40, 1, past[2], 114, 1, 0, past[3]});
  std::vector<int> inputs = {q, k, v, segments, sinks};
  if (o.page > 0) {
    std::vector<int32_t> table;
    for (int64_t slot = 0; slot < 3; ++slot)
      for (int64_t i = 0; i < entries; ++i)
        table.push_back(i * o.page >= lengths[slot] ? -1 : static_cast<int32_t>(pages - 1 - 3 * i - slot));
    inputs.push_back(b.integers({3, entries}, table));
  }
  b.node("cached_attention", inputs, {b.value(type, {rows, H, D})},
      {{"causal", o.causal}, {"window", o.window}, {"scale", 0.5}, {"softcap", o.softcap},
          {"ring", o.ring ? o.window : 0}, {"bf16", o.rounded}});
  return b;
}
// Segments over the same rows, one per sequence. They need more tiles than the grid has blocks, because the grid is
// sized for disjoint segments. The last segment decides the output. earlier: positions before those of the segments.
inline Builder overlapping_prompts(int64_t rows, int32_t earlier = 0) {
  Builder b;
  const int64_t L = rows + 40 + earlier;
  const int32_t count = static_cast<int32_t>(rows);
  const int q = b.floats(DType::bf16, {rows, 4, 64}), k = b.floats(DType::bf16, {3, 2, L, 64}),
            v = b.floats(DType::bf16, {3, 2, L, 64});
  const int segments = b.integers({3, 4}, {0, count, 1, earlier, 0, count, 2, 9 + earlier, 0, count, 0, 40 + earlier});
  b.node("cached_attention", {q, k, v, segments}, {b.value(DType::bf16, {rows, 4, 64})},
      {{"causal", 1}, {"window", 0}, {"scale", 0.5}, {"softcap", 0}});
  return b;
}

// 131 rows with four heads are too many for blocks of one part each. Segments of 65 rows are too short for the kernel
// of long ones. So a block processes two parts of 256 positions. The first three segments overlap, and need more tiles
// than the grid has blocks. A cache of u8 holds the new rows, and zeros before them.
inline Builder overlapping_parts(DType type, DType cache, int64_t D) {
  Builder b;
  const int64_t L = 330, rows = 131, bytes = D + 4;
  const bool q8 = cache == DType::u8;
  const auto store = [&] {
    if (!q8) return b.floats(cache, {3, 2, L, D});
    const int v = b.value(DType::u8, {3, 2, L, bytes});
    b.data.emplace_back(static_cast<size_t>(3 * 2 * L * bytes));
    b.desc.bound.push_back(v);
    return v;
  };
  const int x = b.floats(type, {rows, 2, D}), q = b.floats(type, {rows, 4, D}), k = store(), v = store();
  const int segments = b.integers({4, 4}, {0, 65, 1, 230, 0, 65, 2, 240, 0, 65, 0, 250, 65, 66, 1, 230});
  const int written = b.integers({3, 4}, {0, 65, 0, 250, 0, 65, 2, 240, 65, 66, 1, 230});
  if (q8)
    for (const int to : {k, v}) b.node("cache_write", {to, x, written}, {}, {{"ring", 0}});
  b.node("cached_attention", {q, k, v, segments}, {b.value(type, {rows, 4, D})},
      {{"causal", 1}, {"window", 0}, {"scale", 0.5}, {"softcap", 0}});
  return b;
}

// Three segments over the same 131 rows with four heads, which are long enough for the kernel of long segments. They
// need more tiles than the grid has blocks. The last segment decides the output.
inline Builder long_prompts(DType type, DType cache, int64_t D) {
  Builder b;
  const int64_t L = 330, rows = 131;
  const int q = b.floats(type, {rows, 4, D}), k = b.floats(cache, {3, 2, L, D}), v = b.floats(cache, {3, 2, L, D});
  const int segments = b.integers({3, 4}, {0, 131, 1, 150, 0, 131, 2, 60, 0, 131, 0, 190});
  b.node("cached_attention", {q, k, v, segments}, {b.value(type, {rows, 4, D})},
      {{"causal", 1}, {"window", 0}, {"scale", 0.5}, {"softcap", 0}});
  return b;
}

// Two sequences in pages. They share their first page. Half of the page table is unused.
inline Builder paged(DType type, int64_t page, int64_t past, int64_t D, int64_t rows, DType of_rows = DType::f32) {
  Builder b;
  const int64_t L = past + rows, entries = (L + page - 1) / page, pages = 2 * entries + 1, bytes = D + 4;
  std::vector<int32_t> table;
  for (int64_t slot = 0; slot < 2; ++slot)
    for (int64_t i = 0; i < 2 * entries; ++i)
      table.push_back(i >= entries ? -1 : i == 0 ? 1 : static_cast<int32_t>(pages - 1 - 2 * (i - 1) - slot));
  const auto cache = [&] {
    if (type != DType::u8) return b.floats(type, {pages, 2, page, D});
    const int v = b.value(DType::u8, {pages, 2, page, bytes});
    b.data.emplace_back(static_cast<size_t>(pages * 2 * page * bytes));
    b.desc.bound.push_back(v);
    return v;
  };
  const int x = b.floats(of_rows, {2 * rows, 2, D}), q = b.floats(of_rows, {2 * rows, 4, D}), k = cache(), v = cache();
  const int r = static_cast<int>(rows),
            segments = b.integers({2, 4}, {0, r, 1, static_cast<int32_t>(past), r, r, 0, static_cast<int32_t>(past)});
  const int pages_of = b.integers({2, 2 * entries}, table);
  for (const int to : {k, v}) b.node("cache_write", {to, x, segments, pages_of}, {}, {{"ring", 0}});
  b.node("cached_attention", {q, k, v, segments, -1, pages_of}, {b.value(of_rows, {2 * rows, 4, D})},
      {{"causal", 1}, {"window", 0}, {"scale", 0.5}, {"softcap", 0}});
  return b;
}

// A q8 cache that is a ring of 9 rows, for a window of 5. A row of a q8 cache has D bytes and a scale of 4 bytes.
inline Builder cached_q8(int64_t D) {
  Builder b;
  const int64_t rows = 3, L = 9;
  const int x = b.floats(DType::f32, {rows, 2, D}), q = b.floats(DType::f32, {rows, 4, D});
  const auto cache = [&] {
    const int v = b.value(DType::u8, {2, 2, L, D + 4});
    b.data.emplace_back(static_cast<size_t>(2 * 2 * L * (D + 4)));
    b.desc.bound.push_back(v);
    return v;
  };
  // The new rows have positions 8 to 10, so that 9 and 10 wrap around.
  const int k = cache(), v = cache(), segments = b.integers({1, 4}, {0, static_cast<int32_t>(rows), 1, 8});
  for (const int to : {k, v}) b.node("cache_write", {to, x, segments}, {}, {{"ring", 5}});
  b.node("cached_attention", {q, k, v, segments}, {b.value(DType::f32, {rows, 4, D})},
      {{"causal", 1}, {"window", 5}, {"ring", 5}, {"scale", 0.5}, {"softcap", 0}});
  return b;
}

}  // namespace cases
}  // namespace heddle
