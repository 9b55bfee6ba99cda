// Attention of new rows over the key/value cache, which already holds the keys and values of these rows.
#include "ops/attention.h"
#include "ops/q8_rows.h"
#include "ops/segments.h"

namespace heddle {
namespace {

// Inputs: q (N, H, D), cache_k and cache_v (S, KH, L, D), segments (G, 4) i32, sinks? (H), pages? (S, M) i32.
// Output: o (N, H, D). A q8 cache has rows of D + 4 bytes. With pages, the caches are (P, KH, page, D).
// Position p of a sequence is in row p mod L of its slot. With `ring`, the cache holds only the newest L positions.
// `context` is the maximum number of positions of a slot. Kernels split long contexts by `context` and L alone, so that
// results do not depend on the number of stored positions. Rows of o outside every segment are not written. With
// `bf16`, kernels may round q, the probabilities and an f16 cache to bf16 before they multiply. The reference does not
// round.
void check_cached_attention(const Node& n) {
  Check c("cached_attention", n, 4, 6, 1, 1);
  const Operand q = c.in(0, "q"), k = c.in(1, "cache_k"), v = c.in(2, "cache_v"), o = c.out(0, "o");
  c.rank(q, 3), c.dtype(q, activation_types), c.positive(q, 1), c.positive(q, 2);
  c.rank(k, 4), c.dtype(k, cache_types), check_cache_width(c, q, k), c.positive(k, 1);
  c.same_shape(v, k), c.same_dtype(v, k);
  if (q.shape()[1] % k.shape()[1] != 0)
    c.mismatch("heads of q: expected a multiple of cache_k's " + std::to_string(k.shape()[1]) + ", got " +
               std::to_string(q.shape()[1]));
  check_segments(c, c.in(3, "segments"));
  if (c.has(4)) {
    const Operand sinks = c.in(4, "sinks");
    c.rank(sinks, 1), c.dtype(sinks, float_types), c.same_dim(sinks, 0, q, 1);
  }
  c.same_shape(o, q), c.dtype(o, activation_types);
  AttentionAttributes::check(c);
  if (n.attributes->get("bf16", 0) != 0) c.attr_flag("bf16");
  check_pages(c, n, 5);
  if (n.attributes->get("context", 0) != 0) c.attr_int("context", 0, int64_t{1} << 53);
  const int64_t ring = ring_of(n);
  if (ring != 0 && (ring != n.attr_int("window") || !n.attr_flag("causal")))
    c.invalid("ring: expected causal attention with window " + std::to_string(ring) + ", got causal " +
              std::to_string(n.attr_flag("causal")) + " and window " + std::to_string(n.attr_int("window")));
}

// Reads one row of a head's cache as D doubles.
void load_cached(const Tensor& cache, int64_t row, int64_t D, double* to) {
  if (cache.dtype != DType::u8) return load_row(cache, row * D, D, to);
  const uint8_t* bytes = cache.as<uint8_t>() + row * cache.shape[3];
  const double scale = q8_scale(bytes, D);
  for (int64_t d = 0; d < D; ++d) to[d] = scale * static_cast<int8_t>(bytes[d]);
}

void cached_attention(const Node& n) {
  const Tensor &q = n.in[0], &k = n.in[1], &v = n.in[2], &o = n.out[0];
  const int64_t H = q.shape[1], D = q.shape[2], KH = k.shape[1];
  const AttentionAttributes a(n);
  const CachePlaces places = places_of(n, k, 5);
  const Row sinks = n.has_input(4) ? load_all(n.in[4]) : Row();
  Row query(D), out(D);
  for (const Segment& s : read_segments("cached_attention", n.in[3], q.shape[0], places, ring_of(n), a.before())) {
    const int64_t length = s.past + s.count, from = a.first(s.past);
    Row p(static_cast<size_t>(length)), ks(static_cast<size_t>(length * D)), vs(ks.size());  // (length), (length, D)
    for (int64_t kh = 0; kh < KH; ++kh) {
      for (int64_t j = from; j < length; ++j) {
        load_cached(k, places.row(s.slot, kh, j), D, &ks[j * D]);
        load_cached(v, places.row(s.slot, kh, j), D, &vs[j * D]);
      }
      for (int64_t r = 0; r < s.count; ++r) {
        const int64_t position = s.past + r, first = a.first(position), last = a.last(position, length);
        for (int64_t h = kh * (H / KH); h < (kh + 1) * (H / KH); ++h) {
          const int64_t at = ((s.first + r) * H + h) * D;
          load_row(q, at, D, query.data());
          for (int64_t j = first; j < last; ++j) p[j] = a.score(dot(query.data(), &ks[j * D], D));
          softmax_in_place(&p[first], last - first, sinks.empty() ? nullptr : &sinks[h]);
          out.assign(D, 0);
          for (int64_t j = first; j < last; ++j)
            for (int64_t d = 0; d < D; ++d) out[d] += p[j] * vs[j * D + d];
          store_row(o, at, out);
        }
      }
    }
  }
}

HEDDLE_OP(cached_attention_op, {"cached_attention", 4, 6, 1, check_cached_attention, cached_attention});

}  // namespace
}  // namespace heddle
