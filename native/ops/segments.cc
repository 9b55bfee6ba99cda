#include "ops/segments.h"

#include "ops/q8_rows.h"

namespace heddle {

void check_cache_width(const Check& c, Operand x, Operand cache) {
  if (cache.dtype() != DType::u8) return c.same_dim(x, 2, cache, 3);
  if (x.shape()[2] != cache_width(*cache.tensor))
    c.mismatch("last dimension of " + std::string(cache.name) + " is " + std::to_string(cache.shape()[3]) + ", expected " +
               std::to_string(x.shape()[2]) + " bytes and 4 of their scale");
}

int64_t ring_of(const Node& n) {
  const double ring = n.attributes->get("ring", 0);
  if (!(ring >= 0 && ring <= 1u << 31) || ring != static_cast<double>(static_cast<int64_t>(ring)))
    throw invalid_argument("cache: ring is " + std::to_string(ring) + ", expected an integer of at least 0");
  return static_cast<int64_t>(ring);
}

std::vector<Segment> read_segments(const char* op, const Tensor& segments, int64_t rows, const Shape& cache, int64_t ring) {
  std::vector<Segment> list;
  const int32_t* row = segments.as<int32_t>();
  for (int64_t g = 0; g < segments.shape[0]; ++g, row += 4) {
    const Segment s{row[0], row[1], row[2], row[3]};
    const std::string name = std::string(op) + ": segment " + std::to_string(g);
    if (s.count < 0 || s.past < 0)
      throw invalid_argument(name + " has " + std::to_string(s.count) + " rows after " + std::to_string(s.past) +
                             " past positions, expected neither below zero");
    if (s.count == 0) continue;
    if (s.first < 0 || s.first + s.count > rows)
      throw invalid_argument(name + " covers rows " + std::to_string(s.first) + " to " + std::to_string(s.first + s.count) +
                             ", expected rows within [0, " + std::to_string(rows) + ")");
    if (s.slot < 0 || s.slot >= cache[0])
      throw invalid_argument(name + " uses cache slot " + std::to_string(s.slot) + ", expected one of [0, " +
                             std::to_string(cache[0]) + ")");
    if (ring > 0 && s.past + s.count > cache[2] && s.count > cache[2] - ring + 1)
      throw Error("CONTEXT_OVERFLOW", name + " has " + std::to_string(s.count) + " rows, a ring of " +
                                          std::to_string(cache[2]) + " that keeps a window of " + std::to_string(ring) +
                                          " takes " + std::to_string(cache[2] > ring ? cache[2] - ring + 1 : 0));
    if (ring == 0 && s.past + s.count > cache[2])
      throw Error("CONTEXT_OVERFLOW", name + " ends at position " + std::to_string(s.past + s.count) +
                                          ", the context holds " + std::to_string(cache[2]));
    list.push_back(s);
  }
  return list;
}

}  // namespace heddle
