// Writing new keys or values into the cache.
#include "ops/check.h"
#include "ops/reference.h"
#include "ops/segments.h"

namespace heddle {
namespace {

// cache (S, KH, L, D) of f32, bf16 or f16, written in place; x (N, KH, D); segments (G, 4) i32
void check_cache_write(const Node& n) {
  Check c("cache_write", n, 3, 3, 0, 0);
  const Operand cache = c.in(0, "cache"), x = c.in(1, "x");
  c.rank(cache, 4), c.dtype(cache, float_types);
  c.rank(x, 3), c.dtype(x, activation_types), c.same_dim(x, 1, cache, 1), c.same_dim(x, 2, cache, 3);
  check_segments(c, c.in(2, "segments"));
}

void cache_write(const Node& n) {
  const Tensor &cache = n.in[0], &x = n.in[1];
  const int64_t KH = cache.shape[1], L = cache.shape[2], D = cache.shape[3];
  Row row(D);
  for (const Segment& s : read_segments("cache_write", n.in[2], x.shape[0], cache.shape))
    for (int64_t r = 0; r < s.count; ++r)
      for (int64_t h = 0; h < KH; ++h) {
        load_row(x, ((s.first + r) * KH + h) * D, D, row.data());
        store_row(cache, ((s.slot * KH + h) * L + s.past + r) * D, row);
      }
}

HEDDLE_OP(cache_write_op, {"cache_write", 3, 3, 0, check_cache_write, cache_write, 0b001});

}  // namespace
}  // namespace heddle
