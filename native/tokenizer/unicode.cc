#include "tokenizer/unicode.h"

#include <cstring>
#include <memory>

namespace heddle::unicode {
namespace {

struct Range {
  uint32_t first;
  uint8_t flags;
};

constexpr Range ranges[] = {
#include "tokenizer/unicode_ranges.inc"
};

std::unique_ptr<uint8_t[]> build() {
  std::unique_ptr<uint8_t[]> table(new uint8_t[table_size]);
  constexpr size_t count = sizeof(ranges) / sizeof(ranges[0]);
  for (size_t i = 0; i < count; ++i) {
    const uint32_t end = i + 1 < count ? ranges[i + 1].first : table_size;
    std::memset(table.get() + ranges[i].first, ranges[i].flags, end - ranges[i].first);
  }
  return table;
}

}  // namespace

const uint8_t* flag_table() {
  static const std::unique_ptr<uint8_t[]> table = build();
  return table.get();
}

}  // namespace heddle::unicode
