// Properties of code points. scripts/make-unicode-tables.mjs generates the tables and names their source.
#pragma once
#include <algorithm>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

namespace heddle::unicode {

enum Flag : uint8_t {
  letter = 1,       // \p{L}
  number = 2,       // \p{N}
  space = 4,        // \p{White_Space}, which is \s of Oniguruma and Rust
  upperish = 8,     // \p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}
  lowerish = 16,    // \p{Ll}\p{Lm}\p{Lo}\p{M}
  mark = 32,        // \p{M}
  nfc_unsafe = 64,  // text without such code points is in NFC
  word = 128,       // \w of UTS 18
};

constexpr uint32_t table_size = 0x40000;

const uint8_t* flag_table();  // table_size entries; built once, thread-safe

inline uint8_t flags_of(const uint8_t* table, uint32_t code) {
  if (code < table_size) return table[code];
  // Above the table, only the variation selectors of plane 14 have flags.
  return code >= 0xE0100 && code <= 0xE01EF ? upperish | lowerish | mark | nfc_unsafe | word : 0;
}

// Code points from `first` to the next range have the same value.
struct Range {
  uint32_t first : 21;
  uint32_t value : 11;
};

// A value per code point, in blocks of 256. Consecutive equal blocks are stored once.
template <class T> class BlockTable {
 public:
  // The ranges hold indices into `values`, or the values themselves if `values` is null.
  BlockTable(const Range* ranges, size_t count, const T* values = nullptr) {
    std::vector<T> block(256);
    size_t range = 0;
    for (uint32_t index = 0; index < block_count; ++index) {
      for (uint32_t i = 0; i < 256; ++i) {
        while (range + 1 < count && ranges[range + 1].first <= index * 256 + i) ++range;
        const uint32_t value = ranges[range].value;
        block[i] = values ? values[value] : static_cast<T>(value);
      }
      const size_t size = values_.size();
      const bool repeats = size >= 256 && std::equal(block.begin(), block.end(), values_.end() - 256);
      if (!repeats) values_.insert(values_.end(), block.begin(), block.end());
      blocks_[index] = static_cast<uint16_t>(values_.size() / 256 - 1);
    }
  }
  T operator[](uint32_t code) const {  // code < 0x110000
    return values_[static_cast<size_t>(blocks_[code >> 8]) << 8 | (code & 255)];
  }

 private:
  static constexpr uint32_t block_count = 0x1100;
  std::vector<T> values_;
  std::unique_ptr<uint16_t[]> blocks_{new uint16_t[block_count]()};
};

// The lowest five bits of a property are the general category, an index into category_names.
constexpr uint32_t category_mask = 31;
constexpr std::string_view category_names[] = {"Cn", "Cc", "Cf", "Co", "Cs", "Ll", "Lm", "Lo", "Lt", "Lu", "Mc", "Me",
    "Mn", "Nd", "Nl", "No", "Pc", "Pd", "Pe", "Pf", "Pi", "Po", "Ps", "Sc", "Sk", "Sm", "So", "Zl", "Zp", "Zs"};

enum Property : uint32_t {
  alphabetic = 1 << 5,
  word_character = 1 << 6,    // \w of Oniguruma
  punctuation = 1 << 7,       // where BERT and the Punctuation pre-tokenizer split
  numeric = 1 << 8,           // where the Digits pre-tokenizer splits
  combining = 1 << 9,         // removed by StripAccents
  nonspacing = 1 << 10,       // removed by BERT's strip_accents
  removed_control = 1 << 11,  // removed by BERT's clean_text
  posix_punct = 1 << 12,      // [[:punct:]]
};

const BlockTable<uint32_t>& properties();
const BlockTable<uint8_t>& scripts();          // 0, or 1 + the index of a name that script_named() knows
const BlockTable<uint8_t>& segment_scripts();  // classes of the UnicodeScripts pre-tokenizer; 0: any script
const BlockTable<uint8_t>& breaks();           // GraphemeBreak

uint8_t script_named(std::string_view name);  // 0 if unknown; ignores case, spaces, "-" and "_"

enum class GraphemeBreak : uint8_t {
  other,
  cr,
  lf,
  control,
  extend,
  zwj,
  regional,
  prepend,
  spacing,
  l,
  v,
  t,
  lv,
  lvt,
  pictographic
};

}  // namespace heddle::unicode
