// Finds for each position of a text the tokens that end there. The time is linear in the length of the text and the
// number of matches. Partial matches that fail cost nothing extra. Uses the automaton of Aho and Corasick (1975) over a
// trie.
#pragma once
#include <cstdint>
#include <vector>

#include "tokenizer/models/trie.h"

namespace heddle {

class TokenEnds {
 public:
  // Keeps a reference to the trie, which must not change. Ignores the empty token.
  explicit TokenEnds(const Trie& trie);

  // Returns the node of the longest suffix of (the string of `node`, then `byte`) that is in the trie.
  uint32_t step(uint32_t node, uint8_t byte) const {
    for (;; node = shorter_[node]) {
      const uint32_t next = trie_.child(node, byte);
      if (next != Trie::none) return next;
      if (node == Trie::root) return Trie::root;
    }
  }
  // Returns the node of the longest token that is a suffix of `node`'s string, or the root.
  uint32_t token(uint32_t node) const { return token_[node]; }
  // Returns the next shorter token that is a suffix of a token's string.
  uint32_t next_token(uint32_t token) const { return token_[shorter_[token]]; }
  uint32_t length(uint32_t node) const { return length_[node]; }  // bytes

 private:
  const Trie& trie_;
  std::vector<uint32_t> shorter_;  // by node: the node of the longest proper suffix of its text
  std::vector<uint32_t> token_;
  std::vector<uint32_t> length_;
};

}  // namespace heddle
