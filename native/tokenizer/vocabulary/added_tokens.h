// Finds added tokens (special ones, and words added after training) in text, like Hugging Face's AddedVocabulary.
#pragma once
#include <algorithm>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/models/longest_starts.h"

namespace heddle {

struct AddedToken {
  std::string content;  // UTF-8; normalized if the token is matched in normalized text
  uint32_t id = 0;
  bool single_word = false;  // matches only without adjacent word characters
  bool lstrip = false;       // includes the whitespace before it
  bool rstrip = false;       // includes the whitespace after it
  bool special = false;
  // Whether the token is special or looks like markup. A guarded token is plain text where it is not allowed, or if a
  // barrier (see split()) is inside it or at its end.
  bool guarded = false;
};

// The guarded tokens that are recognized in a text. All other guarded tokens are plain text.
struct AllowedSpecials {
  AllowedSpecials(bool all) : all(all) {}  // NOLINT: implicit; all guarded tokens, or none
  explicit AllowedSpecials(const std::vector<uint32_t>& sorted_ids) : ids(&sorted_ids) {}
  bool has(uint32_t id) const { return all || (ids != nullptr && std::binary_search(ids->begin(), ids->end(), id)); }

  bool all = false;
  const std::vector<uint32_t>* ids = nullptr;
};

// A range of text, or an added token (id != no_token). Offsets in bytes.
struct TextSegment {
  size_t begin;
  size_t end;
  uint32_t id;
};

class AddedTokenMatcher {
 public:
  explicit AddedTokenMatcher(std::vector<AddedToken> tokens);

  bool empty() const { return tokens_.empty(); }

  // Appends the segments of text[begin, end) to `out`. Empty text has no segments. The leftmost match wins, and at
  // equal positions the longest. `barriers` are ascending byte offsets, each after a character
  // of users' text that could begin a guarded token.
  void split(std::string_view text, size_t begin, size_t end, const AllowedSpecials& allowed,
      const std::vector<size_t>& barriers, std::vector<TextSegment>& out) const;

 private:
  struct Node {
    uint32_t token = UINT32_MAX;                         // index into tokens_
    std::vector<std::pair<uint8_t, uint32_t>> children;  // sorted by byte
  };
  const Node* child(const Node& node, uint8_t byte) const;
  size_t next_start(std::string_view text, size_t i, size_t end) const;
  const LongestStarts& starts() const;

  // Walking the trie from every byte takes time proportional to the text times the longest token. If hostile texts or
  // tokens make that slow, an automaton takes over.
  struct Automaton {
    std::once_flag once;
    std::unique_ptr<const LongestStarts> made;
  };
  // The automaton takes over after more trie steps than free_steps + steps_per_byte per byte of text.
  static constexpr size_t free_steps = 1 << 16, steps_per_byte = 16;

  std::vector<AddedToken> tokens_;
  std::unique_ptr<Automaton> automaton_ = std::make_unique<Automaton>();
  std::vector<Node> nodes_;
  bool starts_[256] = {};                  // whether a token begins with the byte
  static constexpr size_t few_starts = 4;  // maximum start_count_ with which next_start() compares whole blocks
  size_t start_count_ = 0;                 // number of distinct first bytes of tokens
  char start_bytes_[few_starts] = {};      // these bytes; incomplete if there are more than few_starts
};

}  // namespace heddle
