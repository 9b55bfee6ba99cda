// Segments tell cached ops which rows belong to which sequence of the KV cache.
#pragma once
#include <string>
#include <vector>

#include "ops/check.h"

namespace heddle {

// Rows [first, first + count) continue the sequence in cache `slot`, which already holds `past` positions: row r has
// position past + (r - first).
struct Segment {
  int64_t first, count, slot, past;
};

// Maps positions to rows of a cache. Without pages the cache is (S, KH, L, ...), and position p of slot s is in its row
// p mod L. With a page table (S, M) i32 the cache is (P, KH, page, ...) (Kwon et al. 2023, "PagedAttention"). Positions
// [i page, (i + 1) page) of slot s are then in page table[s][i], which several slots may share.
struct CachePlaces {
  int64_t slots, heads, capacity;  // capacity: positions of a slot
  int64_t page = 0;                // positions per page, 0 without a table
  int64_t pages = 0;               // number of pages, 0 without a table
  const int32_t* table = nullptr;  // (slots, capacity / page)

  // Returns the cache row of a position. With pages, requires position < capacity and a valid page.
  int64_t row(int64_t slot, int64_t head, int64_t position) const {
    if (page == 0) return (slot * heads + head) * capacity + position % capacity;
    return (table[slot * (capacity / page) + position / page] * heads + head) * page + position % page;
  }
};
// `pages` is the index of the node's optional page-table input.
CachePlaces places_of(const Node& n, const Tensor& cache, size_t pages);
void check_pages(const Check& c, const Node& n, size_t pages);

// Element types of caches: floats, or bytes that hold q8 rows (ops/q8_rows.h).
constexpr unsigned cache_types = float_types | type_bit(DType::u8);

inline void check_segments(const Check& c, Operand segments) {
  c.rank(segments, 2), c.dtype(segments, i32_only), c.dim(segments, 1, 4);
}

// Checks that the last dimension of `cache` holds rows of x's width.
void check_cache_width(const Check& c, Operand x, Operand cache);

// Returns the attribute `ring`. It is 0 if a slot holds positions [0, L). Otherwise it is the size of the sliding
// window, and a slot holds its newest L positions.
int64_t ring_of(const Node& n);

// Reads segments (G, 4) i32 = [first, count, slot, past] and validates each against `rows` rows and a cache. Empty
// segments are dropped. `before` is the number of earlier positions that a segment reads, whose pages must be present
// too. Throws INVALID_ARGUMENT, or CONTEXT_OVERFLOW if a sequence would outgrow its slot.
std::vector<Segment> read_segments(
    const char* op, const Tensor& segments, int64_t rows, const CachePlaces& cache, int64_t ring, int64_t before);

}  // namespace heddle
