// Of each end in a text the tokens that end there, in time linear in the text and in what is found, however long the beginnings of
// tokens are that come to nothing: Aho and Corasick's automaton (1975) over a trie.
#pragma once
#include <cstdint>
#include <vector>

#include "tokenizer/models/trie.h"

namespace heddle {

class TokenEnds {
 public:
  // The trie has to stay as and where it is. Without the token of no bytes.
  explicit TokenEnds(const Trie& trie);

  // The node of the longest end of (what `node` stands for, then `byte`) that is in the trie.
  uint32_t step(uint32_t node, uint8_t byte) const {
    for (;; node = shorter_[node]) {
      const uint32_t next = trie_.child(node, byte);
      if (next != Trie::none) return next;
      if (node == Trie::root) return Trie::root;
    }
  }
  // The longest token that what `node` stands for ends with, as its node; root: none.
  uint32_t token(uint32_t node) const { return token_[node]; }
  // The longest one below a token.
  uint32_t next_token(uint32_t token) const { return token_[shorter_[token]]; }
  uint32_t length(uint32_t node) const { return length_[node]; }  // bytes

 private:
  const Trie& trie_;
  std::vector<uint32_t> shorter_;  // by node: that of the longest proper end of its text which is a node as well
  std::vector<uint32_t> token_;
  std::vector<uint32_t> length_;
};

}  // namespace heddle
