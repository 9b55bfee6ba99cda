// Merges of vocabularies that are much larger than published ones. They need no table of pairs: the text of a pair is
// looked up in the vocabulary. Compared with MergeTable, a lookup is slower, but a merge takes a fraction of the
// memory.
#pragma once
#include <cstdint>
#include <string_view>
#include <vector>

#include "tokenizer/buffers.h"
#include "tokenizer/vocabulary/vocab.h"

namespace heddle {

class TextMerges {
 public:
  // From these sizes on, a table of pairs (MergeTable) is many times larger than the vocabulary's file.
  static constexpr size_t min_merges = 1 << 20;
  static constexpr size_t min_scored_tokens = 1 << 19;

  // For merges by score. Two pieces merge if their joined text is a piece, and the merge has that piece's rank. `ranks`
  // has the rank of each id, or no_token if the id is not a piece.
  TextMerges(const Vocab& vocab, std::vector<uint32_t> ranks) : vocab_(vocab), ranks_(std::move(ranks)) {}

  // For listed merges. They must be added in the order of their ranks. `merges` is the maximum number of ranks. If a
  // pair is added twice, its later rank is kept.
  TextMerges(const Vocab& vocab, size_t merges) : vocab_(vocab), last_(vocab.size(), none) { merges_.room(2 * merges); }
  // The merged token's bytes must be those of the pair. Vocab::find() must return each of the three tokens.
  void add(uint32_t left, Merge merge) {
    while (merges_.size() < 2 * size_t{merge.rank}) merges_.push_back(no_token);  // skipped ranks
    merges_.push_back(left);
    merges_.push_back(last_[merge.id]);
    last_[merge.id] = merge.rank;
  }

  Merge find(uint32_t left, uint32_t right) const;

 private:
  static constexpr uint32_t none = UINT32_MAX;
  uint32_t rank_of(uint32_t left, uint32_t right, uint32_t made) const;

  const Vocab& vocab_;
  std::vector<uint32_t> ranks_;  // by id, if merges follow from scores
  // Otherwise, by rank: the left token, and the previous rank with the same result. `last_` has the last rank with each
  // result, by the result's id.
  IdBuffer merges_;
  std::vector<uint32_t> last_;
};

}  // namespace heddle
