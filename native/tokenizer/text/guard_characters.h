// Which characters a normalizer may turn into the beginning of a guarded token. Text from users is marked there, before it is
// normalised, so that no token is recognised in what becomes of it.
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
  // `contents`: the guarded tokens that are looked for in normalised text, as their file writes them. `steps` without those that put
  // a prefix before the text.
  GuardCharacters(Normalizer steps, const std::vector<std::string>& contents);

  static constexpr uint8_t begins = 1;   // a guarded token may begin with what becomes of the character
  static constexpr uint8_t changes = 2;  // the normalizer may make something else of it
  static constexpr uint8_t composes = 4;  // one may begin with what it becomes together with combining characters behind it
  uint8_t of(uint32_t code, RegexBudget& budget) const;  // `budget`: of all characters that are asked about

 private:
  using Characters = std::unordered_set<uint32_t>;
  struct Looks {
    size_t left;  // characters that may still be looked at
    RegexBudget& regex;
  };
  bool may_become(const Characters& some, uint32_t code, size_t step, Looks& looks) const;
  bool may_change(uint32_t code, RegexBudget& budget) const;

  Normalizer steps_;
  Characters first_;       // that the tokens begin with
  Characters decomposed_;  // the same without the combining characters in them
};

}  // namespace heddle
