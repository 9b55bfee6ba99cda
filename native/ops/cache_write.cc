// Writes new keys or values into the cache.
#include "ops/check.h"
#include "ops/q8_rows.h"
#include "ops/reference.h"
#include "ops/segments.h"

namespace heddle {
namespace {

// S slots of L positions, N new rows, G segments, P pages, M pages per slot.
// cache (S, KH, L, D) of f32, bf16 or f16, or (S, KH, L, D + 4) of q8 rows (u8), written in place; x (N, KH, D);
// segments (G, 4) i32; pages? (S, M) i32. With pages, the cache is (P, KH, page, D). Position p of a sequence is stored
// in row p mod L, or in its page. The attribute `ring` is 0 or the size of the sliding window. With a window, positions
// that have left it may be overwritten.
void check_cache_write(const Node& n) {
  Check c("cache_write", n, 3, 4, 0, 0);
  const Operand cache = c.in(0, "cache"), x = c.in(1, "x");
  c.rank(cache, 4), c.dtype(cache, cache_types);
  c.rank(x, 3), c.dtype(x, activation_types), c.same_dim(x, 1, cache, 1), check_cache_width(c, x, cache);
  check_segments(c, c.in(2, "segments"));
  ring_of(n);
  check_pages(c, n, 3);
}

void cache_write(const Node& n) {
  const Tensor &cache = n.in[0], &x = n.in[1];
  const int64_t KH = cache.shape[1], D = x.shape[2];
  const CachePlaces places = places_of(n, cache, 3);
  Row row(D);
  std::vector<float> narrow(static_cast<size_t>(D));
  for (const Segment& s : read_segments("cache_write", n.in[2], x.shape[0], places, ring_of(n), 0))
    for (int64_t r = 0; r < s.count; ++r)
      for (int64_t h = 0; h < KH; ++h) {
        const int64_t at = places.row(s.slot, h, s.past + r);
        load_row(x, ((s.first + r) * KH + h) * D, D, row.data());
        if (cache.dtype == DType::u8) {
          for (int64_t d = 0; d < D; ++d) narrow[d] = static_cast<float>(row[d]);
          q8_store_row(narrow.data(), D, cache.as<uint8_t>() + at * cache.shape[3]);
        } else {
          store_row(cache, at * D, row);
        }
      }
}

HEDDLE_OP(cache_write_op, {"cache_write", 3, 4, 0, check_cache_write, cache_write, 0b001});

}  // namespace
}  // namespace heddle
