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

inline void check_segments(const Check& c, Operand segments) {
  c.rank(segments, 2), c.dtype(segments, i32_only), c.dim(segments, 1, 4);
}

// Reads segments (G, 4) i32 and validates each against N rows and a cache of (S, KH, L, D). Empty segments are dropped.
// Throws INVALID_ARGUMENT, or CONTEXT_OVERFLOW where a sequence would outgrow its slot.
std::vector<Segment> read_segments(const char* op, const Tensor& segments, int64_t rows, const Shape& cache);

}  // namespace heddle
