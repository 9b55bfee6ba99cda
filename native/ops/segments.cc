#include "ops/segments.h"

namespace heddle {

std::vector<Segment> read_segments(const char* op, const Tensor& segments, int64_t rows, const Shape& cache) {
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
    if (s.past + s.count > cache[2])
      throw Error("CONTEXT_OVERFLOW", name + " ends at position " + std::to_string(s.past + s.count) +
                                          ", the context holds " + std::to_string(cache[2]));
    list.push_back(s);
  }
  return list;
}

}  // namespace heddle
