// Models other than byte pair encoding: a piece of text to tokens, each with the bytes of the piece it stands for.
#pragma once
#include <string_view>
#include <vector>

#include "tokenizer/model.h"

namespace heddle {

struct PieceToken {
  uint32_t id;
  uint32_t begin, end;
};

// The longest token that the rest of the word begins with, again and again; words with a part that has none, or with
// more than `max_word_characters`, are unknown as a whole (Wu et al. 2016, as BERT has it). Linear in the word.
void encode_wordpiece(const TokenizerModel& model, std::string_view word, std::vector<PieceToken>& out);

// The segmentation of the greatest sum of scores (Kudo 2018), found by Viterbi's algorithm.
class UnigramEncoder {
 public:
  void encode(const TokenizerModel& model, std::string_view piece, std::vector<PieceToken>& out);

 private:
  template <class Score>
  void encode(const TokenizerModel& model, std::string_view piece, std::vector<PieceToken>& out);

  struct Best {
    double score;
    uint32_t begin;  // UINT32_MAX: nothing ends here
    uint32_t id;
  };
  std::vector<Best> best_;
};

void encode_whole_word(const TokenizerModel& model, std::string_view word, std::vector<PieceToken>& out);

}  // namespace heddle
