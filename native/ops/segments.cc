#include "ops/segments.h"

#include "ops/q8_rows.h"

namespace heddle {

void check_cache_width(const Check& c, Operand x, Operand cache) {
  if (cache.dtype() != DType::u8) return c.same_dim(x, 2, cache, 3);
  if (x.shape()[2] != cache_width(*cache.tensor))
    c.mismatch("last dimension of " + std::string(cache.name) + ": expected " + std::to_string(x.shape()[2]) +
               " bytes plus 4 for the scale, got " + std::to_string(cache.shape()[3]));
}

int64_t ring_of(const Node& n) {
  const double ring = n.attributes->get("ring", 0);
  if (!(ring >= 0 && ring <= 1u << 31) || ring != static_cast<double>(static_cast<int64_t>(ring)))
    throw invalid_argument("cache: ring: expected an integer from 0 to 2^31, got " + std::to_string(ring));
  return static_cast<int64_t>(ring);
}

CachePlaces places_of(const Node& n, const Tensor& cache, size_t pages) {
  if (!n.has_input(pages)) return {cache.shape[0], cache.shape[1], cache.shape[2]};
  const Tensor& table = n.in[pages];
  return {table.shape[0], cache.shape[1], table.shape[1] * cache.shape[2], cache.shape[2], cache.shape[0],
      static_cast<const int32_t*>(table.data)};
}

void check_pages(const Check& c, const Node& n, size_t pages) {
  if (!c.has(pages)) return;
  const Operand table = c.in(pages, "pages");
  c.rank(table, 2), c.dtype(table, i32_only);
  if (ring_of(n) > 0) c.invalid("ring: expected 0 for a paged cache, got " + std::to_string(ring_of(n)));
}

std::vector<Segment> read_segments(
    const char* op, const Tensor& segments, int64_t rows, const CachePlaces& cache, int64_t ring, int64_t before) {
  std::vector<Segment> list;
  const int32_t* row = segments.as<int32_t>();
  for (int64_t g = 0; g < segments.shape[0]; ++g, row += 4) {
    const Segment s{row[0], row[1], row[2], row[3]};
    const std::string name = std::string(op) + ": segment " + std::to_string(g);
    if (s.count < 0 || s.past < 0)
      throw invalid_argument(name + ": expected at least 0 rows and at least 0 past positions, got " +
                             std::to_string(s.count) + " and " + std::to_string(s.past));
    if (s.count == 0) continue;
    if (s.first < 0 || s.first + s.count > rows)
      throw invalid_argument(name + ": expected rows within [0, " + std::to_string(rows) + "), got [" +
                             std::to_string(s.first) + ", " + std::to_string(s.first + s.count) + ")");
    if (s.slot < 0 || s.slot >= cache.slots)
      throw invalid_argument(
          name + ": expected a cache slot in [0, " + std::to_string(cache.slots) + "), got " + std::to_string(s.slot));
    if (ring > 0 && s.past + s.count > cache.capacity && s.count > cache.capacity - ring + 1)
      throw Error("CONTEXT_OVERFLOW",
          name + ": expected at most " + std::to_string(cache.capacity >= ring ? cache.capacity - ring + 1 : 0) +
              " rows for a ring of " + std::to_string(cache.capacity) + " with a window of " + std::to_string(ring) +
              ", got " + std::to_string(s.count));
    if (ring == 0 && s.past + s.count > cache.capacity)
      throw Error("CONTEXT_OVERFLOW", name + ": expected at most " + std::to_string(cache.capacity) +
                                          " positions, the length of the context, got " +
                                          std::to_string(s.past + s.count));
    if (cache.page > 0) {
      const int64_t end = s.past + s.count;
      for (int64_t i = (s.past > before ? s.past - before : 0) / cache.page; i * cache.page < end; ++i) {
        const int32_t page = cache.table[s.slot * (cache.capacity / cache.page) + i];
        if (page < 0 || page >= cache.pages)
          throw invalid_argument(name + ": entry " + std::to_string(i) + " of slot " + std::to_string(s.slot) +
                                 " in the page table: expected a page in [0, " + std::to_string(cache.pages) +
                                 "), got " + std::to_string(page));
      }
    }
    list.push_back(s);
  }
  return list;
}

}  // namespace heddle
