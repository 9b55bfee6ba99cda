#include "tokenizer/text/unicode_forms.h"

#include <algorithm>
#include <iterator>

#include "tokenizer/text/unicode.h"

namespace heddle::unicode {
namespace {

// The text of a code point ends where that of the next one begins. The last entry of a table is a sentinel, which only
// gives the end of the text before it.
struct Decomposition {
  uint32_t code : 18;
  uint32_t begin : 14;
};
struct Composition {
  uint32_t first, second, code;
};
struct Lower {
  uint32_t code, to, then;  // then: 0 if there is no second code point
};

#include "tokenizer/text/unicode_forms.inc"

// Hangul syllables are computed: section 3.12 of the Unicode Standard.
constexpr uint32_t s_base = 0xAC00, l_base = 0x1100, v_base = 0x1161, t_base = 0x11A7;
constexpr uint32_t l_count = 19, v_count = 21, t_count = 28, s_count = l_count * v_count * t_count;

template <size_t N> const Decomposition* find(const Decomposition (&table)[N], uint32_t code) {
  const auto* end = std::end(table) - 1;
  const auto* at = std::lower_bound(
      std::begin(table), end, code, [](const Decomposition& entry, uint32_t value) { return entry.code < value; });
  return at != end && at->code == code ? at : nullptr;
}

}  // namespace

uint8_t combining_rank(uint32_t code) {
  static const BlockTable<uint8_t> table(combining_ranges, std::size(combining_ranges));
  return table[code];
}

int decompose(uint32_t code, bool compatible_too, uint32_t* out) {
  if (code < 0xA0) return 0;
  if (code >= s_base && code < s_base + s_count) {
    const uint32_t index = code - s_base;
    out[0] = l_base + index / (v_count * t_count);
    out[1] = v_base + index % (v_count * t_count) / t_count;
    out[2] = t_base + index % t_count;
    return out[2] == t_base ? 2 : 3;
  }
  const uint32_t* text = compatible_text;
  const Decomposition* found = compatible_too ? find(compatible, code) : nullptr;
  if (found == nullptr) {
    found = find(canonical, code);
    text = canonical_text;
  }
  if (found == nullptr) return 0;
  const int count = static_cast<int>(found[1].begin - found->begin);
  std::copy_n(text + found->begin, count, out);
  return count;
}

uint32_t compose(uint32_t first, uint32_t second) {
  if (first >= l_base && first < l_base + l_count && second >= v_base && second < v_base + v_count) {
    return s_base + ((first - l_base) * v_count + second - v_base) * t_count;
  }
  if (first >= s_base && first < s_base + s_count && (first - s_base) % t_count == 0 && second > t_base &&
      second < t_base + t_count) {
    return first + second - t_base;
  }
  const auto* at = std::lower_bound(std::begin(compositions), std::end(compositions), Composition{first, second, 0},
      [](const Composition& a, const Composition& b) {
    return a.first != b.first ? a.first < b.first : a.second < b.second;
  });
  return at != std::end(compositions) && at->first == first && at->second == second ? at->code : 0;
}

int lowercase(uint32_t code, uint32_t out[2]) {
  if (code < 0x80) {
    out[0] = code >= 'A' && code <= 'Z' ? code + 32 : code;
    return 1;
  }
  const auto* at = std::lower_bound(
      std::begin(lower), std::end(lower), code, [](const Lower& entry, uint32_t value) { return entry.code < value; });
  if (at == std::end(lower) || at->code != code) {
    out[0] = code;
    return 1;
  }
  out[0] = at->to;
  out[1] = at->then;
  return at->then == 0 ? 1 : 2;
}

}  // namespace heddle::unicode
