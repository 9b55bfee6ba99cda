// Finds characters that a normalizer may turn into the beginning of a guarded token. Callers place barriers in users'
// text at these characters before normalization, so that no guarded token is recognized in the normalized text.
#pragma once
#include <cstdint>
#include <string>
#include <unordered_set>
#include <vector>

#include "tokenizer/text/normalizer.h"
#include "tokenizer/regex/regex.h"

namespace heddle {

class GuardCharacters {
 public:
  GuardCharacters() = default;
  // `contents`: the guarded tokens that are matched in normalized text, as written in their file. `steps` must not
  // include those that add a prefix to the text.
  GuardCharacters(Normalizer steps, const std::vector<std::string>& contents);

  static constexpr uint8_t begins = 1;   // a guarded token may begin with the character's normalized form
  static constexpr uint8_t changes = 2;  // the normalizer may change the character
  // A token may begin with the normalized form of the character and its combining characters.
  static constexpr uint8_t composes = 4;
  // Returns the flags of a character. All queries of a text share `budget`.
  uint8_t of(uint32_t code, RegexBudget& budget) const;

 private:
  using Characters = std::unordered_set<uint32_t>;
  struct VisitBudget {
    size_t left;  // characters that may still be visited
    RegexBudget& regex;
  };
  // Whether steps from `step` on may turn the character into the first character of a token. With `composed`, a
  // character with the same base suffices, because combining characters may follow.
  bool may_become(bool composed, uint32_t code, size_t step, VisitBudget& visits) const;
  bool may_change(uint32_t code, RegexBudget& budget) const;

  Normalizer steps_;
  Characters first_;  // first characters of the tokens
  Characters bases_;  // first characters of the canonical decompositions of first_
};

}  // namespace heddle
