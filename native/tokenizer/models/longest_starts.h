// Finds, for each byte of a text, the longest of a set of strings that begins there, in time linear in the text. Reads
// the text backwards with the automaton of Aho and Corasick (1975) for the reversed strings.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/models/trie.h"

namespace heddle {

class LongestStarts {
 public:
  static constexpr uint32_t none = UINT32_MAX;

  // If two strings are equal, the first one is found.
  explicit LongestStarts(const std::vector<std::string_view>& contents);

  // Sets found[i] to the index of the longest content that begins at byte i, or to none.
  void find(std::string_view text, std::vector<uint32_t>& found) const;

 private:
  Trie trie_;                      // trie of the reversed contents
  std::vector<uint32_t> shorter_;  // by node: the node of the longest proper suffix of its text
  std::vector<uint32_t> longest_;  // by node: the longest content that is a suffix of its text
};

}  // namespace heddle
