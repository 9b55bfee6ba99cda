// Shared by the kernels of the KV cache: addresses of cache rows, the range of keys that a query row sees, and the
// operands of cached attention.
#pragma once
#include "cuda/attention/attention.cuh"
#include "ops/q8_rows.h"
#include "ops/segments.h"

namespace heddle {
namespace cuda {

// A segment (native/ops/segments.h): rows [first, first + count) of q continue the sequence in cache slot `slot`, which
// already holds `past` positions.
struct SegmentRow {
  int32_t first, count, slot, past;
};

// The layout of the cache. Without pages, position p of a sequence is in row p mod L of its slot. With pages, it is in
// row p mod `page` of page table[slot][p / page]. ring: 0, or the size of the sliding window. With a window, a slot
// keeps only the newest L positions. Positions and pages are divided as 32-bit numbers: segments have 32-bit positions,
// and a page is in memory. Divisions of 64-bit numbers take several times the instructions.
struct CacheShape {
  int64_t rows, S, KH, L, D, ring;  // rows: of the input; S: slots; KH: key heads; L: positions per slot; D: head width
  int64_t page, pages, slot_pages;  // positions per page, number of pages, pages of a slot; 0 without a table
  const int32_t* table;             // (S, slot_pages)

  __device__ int32_t page_of(int64_t slot, int64_t position) const {
    return table[slot * slot_pages + static_cast<uint32_t>(position) / static_cast<uint32_t>(page)];
  }
  __device__ bool is_valid_page(int32_t number) const { return number >= 0 && number < pages; }
  __device__ int64_t row_of(int64_t slot, int64_t head, int64_t position, const Fault& fault) const {
    return row_in(page == 0 ? 0 : page_of(slot, position), slot, head, position, fault);
  }
  // Returns the index of the cache row of a head and position. `number` is page_of the position, if there are pages.
  // Reports an invalid page, and returns a row of page 0 instead. The caller's run fails, so what is read there does
  // not matter.
  __device__ int64_t row_in(int32_t number, int64_t slot, int64_t head, int64_t position, const Fault& fault) const {
    const uint32_t place = static_cast<uint32_t>(position);
    if (page == 0) return (slot * KH + head) * L + (position < L ? place : place % static_cast<uint32_t>(L));
    if (!is_valid_page(number)) fault.report();
    return ((is_valid_page(number) ? number : 0) * KH + head) * page + place % static_cast<uint32_t>(page);
  }
};

// Whether the segment's rows, slot and positions exist, and its positions fit into the slot. With a ring, the new rows
// may overwrite old positions. The oldest position that the first new row sees, past - ring + 1, must stay: count +
// ring - 1 <= L.
__device__ inline bool valid(const SegmentRow& s, const CacheShape& c) {
  if (s.count < 0 || s.past < 0) return false;
  if (s.count == 0) return true;
  const bool fits = static_cast<int64_t>(s.past) + s.count <= c.L || (c.ring > 0 && s.count <= c.L - c.ring + 1);
  return s.first >= 0 && static_cast<int64_t>(s.first) + s.count <= c.rows && s.slot >= 0 && s.slot < c.S && fits;
}

// Returns the layout of `cache`. `pages` is the index of the node's optional page table among its inputs.
inline CacheShape shape_of(const Node& n, const Tensor& rows, const Tensor& cache, size_t pages) {
  const CachePlaces p = places_of(n, cache, pages);
  const int64_t slot_pages = p.page > 0 ? p.capacity / p.page : 0;
  return {rows.shape[0], p.slots, p.heads, p.capacity, cache_width(cache), ring_of(n), p.page, p.pages, slot_pages,
      p.table};
}

struct CachedArguments {
  View q, k, v, sinks;         // q (N, H, D); k, v (S, KH, L, D) or q8 rows; sinks (H), optional
  const SegmentRow* segments;  // (G)
  Out o;                       // (N, H, D)
  int64_t G, H, window;
  CacheShape shape;
  Scores scores;
  bool causal;
  Fault fault;
  // (N, H, parts, D + 2): the largest score of a part, the sum of its weights, its weighted sum of values. Null if one
  // block processes all parts.
  float* part_results;
  int64_t part_length, parts;  // positions per part; maximum number of parts that a row sees
  // Minimum rows of a long segment, which cached_attention_prefill.cu computes. The kernels of other files ignore it.
  int64_t long_rows = 0;

  // Returns the number of query heads that share a key head.
  __device__ int32_t group() const { return static_cast<int32_t>(H) / static_cast<int32_t>(shape.KH); }
  // Returns the result of the i-th part that the row sees.
  __device__ float* part(int64_t row, int64_t head, int64_t i) const {
    return part_results + ((row * H + head) * parts + i) * (shape.D + 2);
  }
};

// The positions [first, last) of cache slot `slot` that a query row sees. slot is negative if no segment contains the
// row, or if any segment is invalid.
struct Visible {
  int64_t slot, first, last;
};
// Returns the positions that row `i` of a segment sees.
__device__ inline Visible keys_of(const CachedArguments& a, const SegmentRow& segment, int64_t i) {
  const int64_t position = segment.past + i, length = static_cast<int64_t>(segment.past) + segment.count;
  Visible keys{segment.slot, 0, length};
  if (a.window > 0) {
    const int64_t furthest = a.causal ? position - a.window + 1 : position - a.window / 2;
    keys.first = furthest > 0 ? furthest : 0;
    if (position + a.window / 2 + 1 < length) keys.last = position + a.window / 2 + 1;
  }
  if (a.causal) keys.last = position + 1;
  return keys;
}
// Returns the positions that a row of q sees. If several segments contain the row, the last one counts.
__device__ inline Visible find_keys(const CachedArguments& a, int64_t row) {
  SegmentRow segment{0, 0, -1, 0};
  HEDDLE_ROLLED
  for (int64_t g = 0; g < a.G; ++g) {
    const SegmentRow s = a.segments[g];
    if (!valid(s, a.shape)) {
      if (threadIdx.x == 0) a.fault.report();
      return {-1, 0, 0};
    }
    if (s.count > 0 && row >= s.first && row < static_cast<int64_t>(s.first) + s.count) segment = s;
  }
  return keys_of(a, segment, row - segment.first);
}

}  // namespace cuda
}  // namespace heddle
