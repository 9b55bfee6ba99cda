// A step of a normalizer, pre-tokenizer or decoder, as lib/tokenizer has read and checked it. A field may have a
// different meaning in each type of step.
#pragma once
#include <cstdint>
#include <string>

namespace heddle {

struct StepSpec {
  std::string type;     // name in tokenizer.json
  std::string pattern;  // the pattern to match; CharDelimiterSplit: the delimiter; CTC: the pad token
  bool is_regex = false;
  // The replacement. Prepend, WordPiece: the prefix. Metaspace: the mark. Decoder Strip: the text to remove.
  // BPEDecoder: the suffix. CTC: the word delimiter.
  std::string content;
  std::string bytes;                 // Precompiled: the charsmap
  bool longest = false;              // Precompiled: longest match first, like SentencePiece itself
  bool left = false, right = false;  // Strip: which sides
  // For BertNormalizer. In the decoders WordPiece and CTC, `clean` removes spaces before punctuation.
  bool clean = false, chinese = false, accents = false, lower = false;
  bool invert = false;  // Split
  bool each = false;    // Digits: split every digit; Metaspace: split; ByteLevel: map bytes
  // ByteLevel: `prefix` prepends a space, `cuts` splits by GPT-2's pattern. Decoder Metaspace: `prefix` removes the
  // marks of the first token instead of replacing them by spaces.
  bool prefix = false, cuts = false;
  // Split: behavior. Metaspace: scheme. FixedLength: length. NativeSplit: SplitKind. Decoder Strip: the maximum number
  // of copies of `content` to remove at the start.
  uint32_t number = 0;
  uint32_t max_digits = 0;    // NativeSplit: maximum digits of a number. Decoder Strip: like `number`, at the end.
  bool contractions = false;  // NativeSplit
};

}  // namespace heddle
