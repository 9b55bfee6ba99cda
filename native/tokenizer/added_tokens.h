// Finds added tokens (special ones, and words added after training) in text, as Hugging Face's AddedVocabulary does.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace heddle {

struct AddedToken {
  std::string content;  // UTF-8, as it is searched for
  uint32_t id = 0;
  bool single_word = false;  // only where no word character touches it
  bool lstrip = false;       // takes the whitespace before it along
  bool rstrip = false;       // and after
  bool special = false;
  // Special tokens, and others that look like mark-up: ordinary text without allow_special and across barriers.
  bool guarded = false;
};

// A stretch of text, or an added token (id != no_token). Offsets in bytes.
struct Segment {
  size_t begin;
  size_t end;
  uint32_t id;
};

class AddedTokenMatcher {
 public:
  explicit AddedTokenMatcher(std::vector<AddedToken> tokens);

  bool empty() const { return tokens_.empty(); }

  // Appends the segments of text[begin, end) to `out`; empty text gives none. The leftmost match wins, the longest of
  // those. With allow_special false, guarded tokens are ordinary text. `barriers` are byte offsets, ascending.
  void split(std::string_view text, size_t begin, size_t end, bool allow_special,
             const std::vector<size_t>& barriers, std::vector<Segment>& out) const;

 private:
  struct Node {
    uint32_t token = UINT32_MAX;  // index into tokens_
    std::vector<std::pair<uint8_t, uint32_t>> children;  // sorted by byte
  };
  const Node* child(const Node& node, uint8_t byte) const;

  std::vector<AddedToken> tokens_;
  std::vector<Node> nodes_;
  bool starts_[256] = {};
};

}  // namespace heddle
