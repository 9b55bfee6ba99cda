// Calls visit(code, begin, size) for every character of well-formed UTF-8.
#pragma once
#include <string_view>

#include "tokenizer/text/utf.h"

namespace heddle {

template <class F> void for_each_character(std::string_view text, F&& visit) {
  for (size_t i = 0; i < text.size();) {
    int size = 0;
    const uint32_t code = utf::decode(text.data() + i, size);
    visit(code, i, static_cast<size_t>(size));
    i += static_cast<size_t>(size);
  }
}

inline bool is_ascii(std::string_view text) {
  uint8_t bits = 0;  // no early exit, so that it is vectorized
  for (const char c : text) bits |= static_cast<uint8_t>(c);
  return bits < 0x80;
}

}  // namespace heddle
