// SentencePiece's precompiled map of characters: a double array of what is replaced, and the texts it is replaced by.
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

  // Like Hugging Face's library: replaces grapheme clusters of less than six bytes, or else characters, as a whole by
  // the value of the shortest entry that is their prefix.
  void run(NormalizedText& text) const;

  // As SentencePiece: the longest entry at each place, left to right.
  void run_longest(NormalizedText& text) const;

  // Whether an entry of several characters, the first of which is `first`, is replaced by a text that `holds` accepts.
  bool may_write(uint32_t first, const std::function<bool(std::string_view)>& holds) const;

 private:
  // Finds the shortest (or longest) entry that is a prefix of `part`. Returns its replacement and length, or null.
  const char* find(std::string_view part, bool longest, size_t& length) const;

  std::vector<uint32_t> units_;
  std::string texts_;  // each ends with a zero
};

// End of the extended grapheme cluster that begins at `at`. Conjuncts of Indic scripts are several here: rule 9c joins
// only what is too long for the map to look at.
size_t cluster_end(std::string_view text, size_t at);

}  // namespace heddle
