#include "core/row_order.h"

#include <algorithm>
#include <cstring>

namespace heddle {

void RowOrder::read(const Mapping& file, size_t offset, size_t at, size_t count, unsigned char* into,
    std::vector<unsigned char>& block) const {
  if (order.empty()) return file.read(offset + at, count, into);
  block.resize(block_bytes());
  for (const size_t end = at + count; at < end;) {
    const size_t first = at / block.size() * block.size();
    file.read(offset + first, block.size(), block.data());
    for (const size_t last = std::min(end, first + block.size()); at < last;) {
      const size_t row = (at - first) / row_bytes, within = (at - first) % row_bytes,
                   run = std::min(last - at, row_bytes - within);
      std::memcpy(into, &block[order[row] * row_bytes + within], run);
      at += run, into += run;
    }
  }
}

}  // namespace heddle
