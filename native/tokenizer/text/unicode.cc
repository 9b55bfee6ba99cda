#include "tokenizer/text/unicode.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <memory>
#include <string>

namespace heddle::unicode {
namespace {

constexpr Range flag_ranges[] = {
#include "tokenizer/text/unicode_ranges.inc"
};
#include "tokenizer/text/unicode_properties.inc"

std::unique_ptr<uint8_t[]> build() {
  std::unique_ptr<uint8_t[]> table(new uint8_t[table_size]);
  constexpr size_t count = sizeof(flag_ranges) / sizeof(flag_ranges[0]);
  for (size_t i = 0; i < count; ++i) {
    const uint32_t first = flag_ranges[i].first, end = i + 1 < count ? flag_ranges[i + 1].first : table_size;
    std::memset(table.get() + first, static_cast<int>(flag_ranges[i].value), end - first);
  }
  return table;
}

template <class T, size_t N> BlockTable<T> table_of(const Range (&ranges)[N]) { return BlockTable<T>(ranges, N); }

std::string folded(std::string_view name) {
  std::string out;
  for (const char c : name) {
    if (c == ' ' || c == '-' || c == '_') continue;
    out += c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  }
  return out;
}

}  // namespace

const uint8_t* flag_table() {
  static const std::unique_ptr<uint8_t[]> table = build();
  return table.get();
}

const BlockTable<uint32_t>& properties() {
  static const BlockTable<uint32_t> table(property_ranges, std::size(property_ranges), property_values);
  return table;
}

const BlockTable<uint8_t>& scripts() {
  static const BlockTable<uint8_t> table = table_of<uint8_t>(script_ranges);
  return table;
}

const BlockTable<uint8_t>& segment_scripts() {
  static const BlockTable<uint8_t> table = table_of<uint8_t>(segment_script_ranges);
  return table;
}

const BlockTable<uint8_t>& breaks() {
  static const BlockTable<uint8_t> table = table_of<uint8_t>(break_ranges);
  return table;
}

uint8_t script_named(std::string_view name) {
  const std::string wanted = folded(name);
  for (size_t i = 0; i < sizeof(script_names) / sizeof(script_names[0]); ++i) {
    if (folded(script_names[i]) == wanted) return static_cast<uint8_t>(i + 1);
  }
  return 0;
}

}  // namespace heddle::unicode
