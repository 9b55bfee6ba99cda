// SentencePiece's precompiled character map: a double-array trie of keys, and their replacements.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/text/normalized_text.h"

namespace heddle {

class Charsmap {
 public:
  explicit Charsmap(const std::string& bytes);  // throws INVALID_FILE

  // Like Hugging Face's library: looks up grapheme clusters of less than six bytes, otherwise their characters.
  // Finds the shortest key that is a prefix of the cluster or character, and replaces all of it by the key's value.
  void run(NormalizedText& text) const;

  // Like SentencePiece: replaces the longest key at each position, from left to right.
  void run_longest(NormalizedText& text) const;

  // Whether a key of several characters begins with `first` and has a replacement that `holds` accepts.
  bool may_write(uint32_t first, const std::function<bool(std::string_view)>& holds) const;

 private:
  // Finds the shortest (or longest) entry that is a prefix of `part`. Returns its replacement and length, or null.
  const char* find(std::string_view part, bool longest, size_t& length) const;

  std::vector<uint32_t> units_;
  std::string texts_;  // each ends with a zero byte
};

// Returns the end of the extended grapheme cluster that begins at `at`. Omits rule GB9c (Indic conjuncts), because
// such clusters are too long for the map.
size_t cluster_end(std::string_view text, size_t at);

}  // namespace heddle
