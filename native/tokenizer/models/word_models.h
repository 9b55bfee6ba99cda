// Models other than BPE. They convert a piece of text to tokens, each with its byte range in the piece.
#pragma once
#include <string_view>
#include <vector>

#include "core/cancellation.h"
#include "tokenizer/models/model.h"

namespace heddle {

struct PieceToken {
  uint32_t id;
  uint32_t begin, end;
};

// WordPiece (Wu et al. 2016, as in BERT): repeatedly takes the longest token that is a prefix of the rest of the word.
// A word with an unmatched part, or with more than `max_word_characters`, is unknown as a whole. The time is linear in
// the length of the word: after too many failed trie walks, LongestStarts (longest_starts.h) does the rest.
void encode_wordpiece(const TokenizerModel& model, std::string_view word, std::vector<PieceToken>& out);

// Unigram: the segmentation with the greatest sum of scores (Kudo 2018), found by Viterbi's algorithm. The time is
// linear in the length of the piece and the number of tokens that match in it: after too many failed trie walks,
// TokenEnds (token_ends.h) does the rest. Throws ABORTED soon after cancellation is requested.
class UnigramEncoder {
 public:
  void encode(const TokenizerModel& model, std::string_view piece, const Cancellation& cancellation,
      std::vector<PieceToken>& out);

 private:
  template <class Score>
  bool find_by_starts(const TokenizerModel& model, std::string_view piece, const Cancellation& cancellation);
  template <class Score>
  void find_by_ends(const TokenizerModel& model, std::string_view piece, const Cancellation& cancellation);
  template <class Score> void improve(size_t begin, size_t end, double score, uint32_t id);

  struct Best {
    double score;
    uint32_t begin;  // UINT32_MAX: no token ends here
    uint32_t id;
  };
  std::vector<Best> best_;
};

// WordLevel: the word is one token, or unknown.
void encode_whole_word(const TokenizerModel& model, std::string_view word, std::vector<PieceToken>& out);

}  // namespace heddle
