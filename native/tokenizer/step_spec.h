// A normalizer or pre-tokenizer as lib/tokenizer has read and checked it.
#pragma once
#include <cstdint>
#include <string>

namespace heddle {

struct StepSpec {
  std::string type;     // as tokenizer.json names it
  std::string pattern;  // what is looked for
  bool is_regex = false;
  std::string content;               // what is put there
  std::string bytes;                 // Precompiled: the charsmap
  bool longest = false;              // Precompiled: as SentencePiece itself applies it
  bool left = false, right = false;  // Strip
  bool clean = false, chinese = false, accents = false, lower = false;  // BertNormalizer
  bool invert = false;                                                  // Split
  bool each = false;                                                    // Digits: split every digit; Metaspace: split
  bool prefix = false, cuts = false;  // ByteLevel: a space before the text; GPT-2's pattern
  uint32_t number = 0;  // behavior of a split, scheme of a Metaspace, length of pieces, or the native pattern's kind
  uint32_t max_digits = 0;
  bool contractions = false;
};

}  // namespace heddle
