// Segments tell cached ops which rows belong to which sequence of the key/value cache.
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

// Element types of caches: floats, or bytes that hold q8 rows (ops/q8_rows.h).
constexpr unsigned cache_types = float_types | type_bit(DType::u8);

inline void check_segments(const Check& c, Operand segments) {
  c.rank(segments, 2), c.dtype(segments, i32_only), c.dim(segments, 1, 4);
}

// The last dimension of `cache` must hold rows of x's width.
void check_cache_width(const Check& c, Operand x, Operand cache);

// Attribute `ring`: 0 where a slot holds positions [0, L); w where it holds the newest L, of which rows written last
// need those that a window of w lets them see.
int64_t ring_of(const Node& n);

// Reads segments (G, 4) i32 and validates each against N rows and a cache of (S, KH, L, D). Empty segments are dropped.
// Throws INVALID_ARGUMENT, or CONTEXT_OVERFLOW where a sequence would outgrow its slot.
std::vector<Segment> read_segments(const char* op, const Tensor& segments, int64_t rows, const Shape& cache, int64_t ring);

}  // namespace heddle
