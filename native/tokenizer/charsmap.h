// SentencePiece's precompiled map of characters: a double array of what is replaced, and the texts it is replaced by.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/normalized_text.h"

namespace heddle {

class Charsmap {
 public:
  explicit Charsmap(const std::string& bytes);  // throws INVALID_FILE

  void run(NormalizedText& text) const;

 private:
  // What the shortest entry that `part` begins with is replaced by; null if there is none.
  const char* find(std::string_view part) const;

  std::vector<uint32_t> units_;
  std::string texts_;  // each ends with a zero
};

// End of the extended grapheme cluster that begins at `at`. Conjuncts of Indic scripts are several here: rule 9c joins
// only what is too long for the map to look at.
size_t cluster_end(std::string_view text, size_t at);

}  // namespace heddle
