// Properties of code points as one byte of flags each; the tables come from scripts/make-unicode-tables.mjs.
#pragma once
#include <cstdint>

namespace heddle::unicode {

enum Flag : uint8_t {
  letter = 1,       // \p{L}
  number = 2,       // \p{N}
  space = 4,        // \p{White_Space}, which is \s of Oniguruma and Rust
  upperish = 8,     // \p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}
  lowerish = 16,    // \p{Ll}\p{Lm}\p{Lo}\p{M}
  mark = 32,        // \p{M}
  nfc_unsafe = 64,  // text without such a code point is in NFC
  word = 128,       // \w of UTS 18
};

constexpr uint32_t table_size = 0x40000;

const uint8_t* flag_table();  // table_size entries; built once, thread-safe

inline uint8_t flags_of(const uint8_t* table, uint32_t code) {
  if (code < table_size) return table[code];
  // The variation selectors of plane 14 are the only flagged code points above.
  return code >= 0xE0100 && code <= 0xE01EF ? upperish | lowerish | mark | nfc_unsafe | word : 0;
}

}  // namespace heddle::unicode
