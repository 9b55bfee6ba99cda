// Models other than byte pair encoding: a piece of text to tokens, each with the bytes of the piece it stands for.
#pragma once
#include <atomic>
#include <string_view>
#include <vector>

#include "tokenizer/models/model.h"

namespace heddle {

struct PieceToken {
  uint32_t id;
  uint32_t begin, end;
};

// The longest token that the rest of the word begins with, again and again; words with a part that has none, or with
// more than `max_word_characters`, are unknown as a whole (Wu et al. 2016, as BERT has it). Linear in the word: where walks down the
// trie come to nothing too often, LongestStarts does the rest.
void encode_wordpiece(const TokenizerModel& model, std::string_view word, std::vector<PieceToken>& out);

// The segmentation of the greatest sum of scores (Kudo 2018), found by Viterbi's algorithm. Linear in the piece and in the tokens that
// occur in it: where walks down the trie come to nothing too often, TokenEnds finds them. Throws ABORTED soon after `cancelled` is set.
class UnigramEncoder {
 public:
  void encode(const TokenizerModel& model, std::string_view piece, const std::atomic<bool>* cancelled, std::vector<PieceToken>& out);

 private:
  template <class Score>
  bool find_by_starts(const TokenizerModel& model, std::string_view piece, const std::atomic<bool>* cancelled);
  template <class Score>
  void find_by_ends(const TokenizerModel& model, std::string_view piece, const std::atomic<bool>* cancelled);
  template <class Score>
  void improve(size_t begin, size_t end, double score, uint32_t id);

  struct Best {
    double score;
    uint32_t begin;  // UINT32_MAX: nothing ends here
    uint32_t id;
  };
  std::vector<Best> best_;
};

void encode_whole_word(const TokenizerModel& model, std::string_view word, std::vector<PieceToken>& out);

}  // namespace heddle
