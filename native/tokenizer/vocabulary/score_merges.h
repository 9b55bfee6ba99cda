// Derives merges from the scores of SentencePiece's BPE. SentencePiece joins the two neighbors whose union has the
// highest score, and the leftmost two if scores are equal. That corresponds to one merge for every split of a piece
// into two pieces, ranked by the piece's score. Equal scores share a rank.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/text/utf.h"
#include "tokenizer/vocabulary/vocab.h"
#include "tokenizer/vocabulary/vocabulary_texts.h"

namespace heddle {

struct ScoreMerge {
  uint32_t left, right, made;  // indices of tokens
  uint32_t rank;
};

// Mergeable tokens, best first. Each text occurs once, represented by its first mergeable token.
struct ScoredPieces {
  std::vector<uint32_t> order;
  std::vector<bool> is_piece;  // by the index of the first token with the text, mergeable or not
};

// Sorts by descending score, then by ascending index.
void sort_by_score(const std::vector<double>& scores, std::vector<uint32_t>& order);

// find(text): the index of the first token with that text, or no_token.
template <class Text, class Find>
ScoredPieces scored_pieces(const VocabularyTexts& texts, Text&& text_of, Find&& find) {
  ScoredPieces pieces;
  pieces.is_piece.resize(texts.mergeable.size());
  for (uint32_t i = 0; i < texts.mergeable.size(); ++i) {
    if (texts.mergeable[i] == 0) continue;
    const uint32_t first = find(text_of(i));
    if (first == no_token || pieces.is_piece[first]) continue;
    pieces.is_piece[first] = true;
    pieces.order.push_back(i);
  }
  sort_by_score(texts.scores, pieces.order);
  return pieces;
}

// Returns the rank of each id, lower for higher scores; no_token if it is not a piece.
template <class Text, class Find>
std::vector<uint32_t> score_ranks(const VocabularyTexts& texts, Text&& text_of, Find&& find) {
  const ScoredPieces pieces = scored_pieces(texts, text_of, find);
  std::vector<uint32_t> ranks(texts.mergeable.size(), no_token);
  uint32_t rank = 0;
  for (size_t k = 0; k < pieces.order.size(); ++k) {
    if (k > 0 && texts.scores[pieces.order[k]] != texts.scores[pieces.order[k - 1]]) ++rank;
    ranks[find(text_of(pieces.order[k]))] = rank;
  }
  return ranks;
}

// Calls visit(merge) for each merge, lowest rank first. Merges of equal rank are in the order of their resulting
// tokens.
template <class Text, class Find, class Visit>
void for_each_score_merge(const VocabularyTexts& texts, Text&& text_of, Find&& find, Visit&& visit) {
  const ScoredPieces pieces = scored_pieces(texts, text_of, find);
  uint32_t rank = 0;
  for (size_t k = 0; k < pieces.order.size(); ++k) {
    if (k > 0 && texts.scores[pieces.order[k]] != texts.scores[pieces.order[k - 1]]) ++rank;
    const std::string_view piece = text_of(pieces.order[k]);
    const uint32_t made = piece.size() < 2 ? no_token : find(piece);
    for (size_t at = 0; at < piece.size();) {
      at += static_cast<size_t>(utf::sequence_length(piece[at]));
      if (at >= piece.size()) break;
      const uint32_t left = find(piece.substr(0, at));
      if (left == no_token || !pieces.is_piece[left]) continue;
      const uint32_t right = find(piece.substr(at));
      if (right != no_token && pieces.is_piece[right]) visit(ScoreMerge{left, right, made, rank});
    }
  }
}

// Throws INVALID_FILE with `where` if a piece is too long, or if the splits of all pieces have too much text. A piece
// of n characters has n - 1 splits.
void check_score_merges(const VocabularyTexts& texts, const std::string& where);

}  // namespace heddle
