// Byte pair encoding of long pieces without a heap. Goes from left to right, always with the longest token that fits
// after the previous one, and backtracks if none fits. Two tokens fit if no merge would have joined bytes across their
// border. Every prefix of an encoding is the encoding of its text, so the result equals that of the merge loop. After
// van Antwerpen and Neubeck, "So many tokens, so little time" (GitHub 2024). Linear in practice, and at worst O(text
// times longest token).
#pragma once
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string_view>
#include <vector>

#include "tokenizer/models/merger.h"
#include "tokenizer/vocabulary/vocab.h"

namespace heddle {

class PairMatcher {
 public:
  // Returns null if the method does not apply: a byte has no token, two merges have one rank, or the vocabulary exceeds
  // 8 MiB of tokens or 512 bytes per token.
  static std::unique_ptr<const PairMatcher> build(
      const MergeTable& merges, const Vocab& vocab, const uint32_t* byte_ids);

  // Whether the method holds for this piece: it does unless a late token (see late_) is in it.
  bool covers(std::string_view piece) const;

  // A thread's state between pieces: a direct-mapped cache of fitting pairs, and buffers.
  class Scratch {
    friend class PairMatcher;
    static constexpr int bits = 16;
    // left << 32 | right << 1 | fits
    std::vector<uint64_t> fits_ = std::vector<uint64_t>(size_t{1} << bits, UINT64_MAX);
    std::vector<uint32_t> stack_;
    std::vector<bool> dead_;
  };

  // Appends the tokens of a piece that it covers. Throws ABORTED soon after `cancelled` (may be null) is set.
  void encode(
      std::string_view piece, const std::atomic<bool>* cancelled, Scratch& scratch, std::vector<Symbol>& out) const;

 private:
  using Id = uint32_t;
  static constexpr Id none = UINT32_MAX;
  struct Token {
    uint32_t made = never;  // when it comes into being: 0 for a byte, else 1 + the rank of the merge that makes it
    Id left = none, right = none;  // what that merge joins
    uint16_t length = 0;
  };
  static constexpr uint32_t never = UINT32_MAX;

  // A node of the trie of all tokens. Its children lie side by side in the order of their bytes.
  struct Node {
    static constexpr size_t few = 7;
    Id token = none;          // that ends here
    uint32_t first = 0;       // child
    uint8_t count = 0;        // of children, 255 for more than a few
    uint8_t bytes[few] = {};  // of the children; of more than a few, the number of their row in wide_
  };
  // child() reads them at once
  static_assert(sizeof(Node) == 16 && offsetof(Node, count) == 8 && offsetof(Node, bytes) == 9);

  explicit PairMatcher(const MergeTable& merges) : merges_(merges) {}
  bool find_tokens(const Vocab& vocab, const uint32_t* byte_ids);
  void build_trie(const Vocab& vocab);
  bool fit(Id a, Id b, uint32_t limit) const;
  bool fit(Id a, Id b, Scratch& scratch) const;
  Id longest(const char* p, const char* end) const;
  uint32_t child(const Node& node, uint8_t byte) const;

  const MergeTable& merges_;
  std::vector<Token> tokens_;  // by id
  // Tokens whose merges all precede the merges of their parts, so that merging by rank never makes them. Llama 3 has a
  // few dozen. Sorted by their first two bytes, with a bit per pair of bytes.
  std::vector<std::string_view> late_;
  std::vector<uint64_t> late_starts_;
  struct Step {
    Id shorter = none;  // the longest token that it begins with, itself left out
    uint32_t length = 0;
  };
  std::vector<Step> steps_;                      // by id: what stepping back asks, apart from the rest of a token
  std::vector<Node> nodes_;                      // depth first
  std::vector<std::array<uint32_t, 256>> wide_;  // children by byte, 0 if absent
  std::vector<uint32_t> pairs_;                  // the node of two bytes, 0 where no token begins with them
  Id bytes_[256];                                // the token of each byte
};

// The matcher of a model: made when enough text in long pieces has come for it to pay.
class LongPieces {
 public:
  // Returns the matcher for a piece of `size` bytes, or null if it is not built yet or not possible for this
  // vocabulary.
  const PairMatcher* for_piece(
      size_t size, const MergeTable& merges, const Vocab& vocab, const uint32_t* byte_ids) const;

 private:
  static constexpr size_t worth_building = 1 << 16;  // bytes
  mutable std::atomic<size_t> seen_{0};
  mutable std::once_flag once_;
  mutable std::unique_ptr<const PairMatcher> matcher_;
};

}  // namespace heddle
