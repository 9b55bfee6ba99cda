// Byte pair encoding of long pieces without a heap. Proceeds from left to right and always takes the longest token that
// fits after the previous one. Backtracks if none fits. Two tokens fit if no merge would have joined bytes across their
// border. The result equals that of the merge loop, because every prefix of an encoding is the encoding of that
// prefix's text. The algorithm is from van Antwerpen and Neubeck, "So many tokens, so little time" (GitHub 2024). It is
// linear in practice, and at worst O(length of the text times length of the longest token).
#pragma once
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string_view>
#include <vector>

#include "core/cancellation.h"
#include "tokenizer/models/merger.h"
#include "tokenizer/vocabulary/vocab.h"

namespace heddle {

class PairMatcher {
 public:
  // Returns null if the algorithm does not apply. It requires a token for every byte, distinct ranks, and a table of
  // merges. Tokens may have at most 512 bytes each and 8 MiB in all, and at most 1024 of them may be late (late_).
  static std::unique_ptr<const PairMatcher> build(
      const MergeTable& merges, const Vocab& vocab, const uint32_t* byte_ids);

  // Whether the algorithm applies to this piece. It does not if the piece contains the bytes of a late token.
  bool covers(std::string_view piece) const;

  // State that a thread keeps between pieces: a direct-mapped cache of fitting pairs, and buffers.
  class Scratch {
    friend class PairMatcher;
    static constexpr int bits = 16;
    // left << 32 | right << 1 | fits
    std::vector<uint64_t> fits_ = std::vector<uint64_t>(size_t{1} << bits, UINT64_MAX);
    std::vector<uint32_t> stack_;
    std::vector<bool> dead_;
  };

  // Appends the tokens of a piece that covers() accepts. Throws ABORTED soon after cancellation is requested.
  void encode(
      std::string_view piece, const Cancellation& cancellation, Scratch& scratch, std::vector<Symbol>& out) const;

 private:
  using Id = uint32_t;
  static constexpr Id none = UINT32_MAX;
  struct Token {
    uint32_t made = never;         // order of creation: 0 for a byte, otherwise 1 + the rank of its merge
    Id left = none, right = none;  // the parts of that merge
    uint16_t length = 0;
  };
  static constexpr uint32_t never = UINT32_MAX;

  // A node of the trie of all tokens. Its children are contiguous, in the order of their bytes.
  struct Node {
    static constexpr size_t few = 7;
    Id token = none;          // the token that ends here
    uint32_t first = 0;       // index of the first child
    uint8_t count = 0;        // number of children; 255 if there are more than `few`
    uint8_t bytes[few] = {};  // bytes of the children; with more than `few`, the row in wide_
  };
  // child() loads both fields at once.
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
  // The bytes of late tokens, sorted. A token is late if each of its merges has a part that only a merge of higher rank
  // makes. The merge loop may produce such a token, but fit() assumes that parts have lower ranks. Llama 3 has a few
  // dozen. late_starts_ has a bit for each pair of bytes that a late token begins with.
  std::vector<std::string_view> late_;
  std::vector<uint64_t> late_starts_;
  struct Step {
    Id shorter = none;  // the longest proper prefix that is a token
    uint32_t length = 0;
  };
  std::vector<Step> steps_;                      // by id: data for stepping back to a shorter token
  std::vector<Node> nodes_;                      // depth first
  std::vector<std::array<uint32_t, 256>> wide_;  // children by byte, 0 if absent
  std::vector<uint32_t> pairs_;                  // the node of each two bytes; 0 if no token begins with them
  Id bytes_[256];                                // the token of each byte
};

// The PairMatcher of a model. It is built after `worth_building` bytes of long pieces, when the time to build it pays
// off.
class LongPieces {
 public:
  // Returns the matcher for a piece of `size` bytes. Returns null if it is not built yet, or if the vocabulary rules it
  // out.
  const PairMatcher* for_piece(
      size_t size, const MergeTable& merges, const Vocab& vocab, const uint32_t* byte_ids) const;

 private:
  static constexpr size_t worth_building = 1 << 16;  // bytes
  mutable std::atomic<size_t> seen_{0};
  mutable std::once_flag once_;
  mutable std::unique_ptr<const PairMatcher> matcher_;
};

}  // namespace heddle
