// What a vocabulary's file says: tokens with their ids, merges and scores, as they are written there.
#pragma once
#include <cstdint>
#include <string_view>
#include <vector>

#include "tokenizer/buffers.h"

namespace heddle {

struct VocabularyTexts {
  TextBuffer tokens;  // UTF-8, one after the other
  IdBuffer token_lengths, token_ids;  // lengths in bytes
  TextBuffer merges;  // left and right parts in turn
  IdBuffer merge_lengths;
  IdBuffer merge_tokens;  // or, instead of both: the numbers of left, right and made token of each, in the order of `tokens`
  std::vector<uint32_t> merge_ranks;  // one a merge; empty: their order
  std::vector<double> scores;         // of Unigram's tokens, or of those that merges follow from: see score_merges.h
  std::vector<uint8_t> mergeable;     // one a token: whether merges by score join and make it; empty: merges are given

  void add_token(std::string_view text, uint32_t id);
  void add_merge(std::string_view left, std::string_view right);
};

// Appends the parts of `text`, whose lengths are in UTF-16 units, and the length of each in bytes of UTF-8. Throws INVALID_FILE that names
// `name` where the lengths add up to more than the text.
void add_parts(const char* name, std::u16string_view text, const std::vector<uint32_t>& lengths, TextBuffer& out, IdBuffer& out_lengths);

// Converts joined UTF-16 texts with their lengths in units. Lone surrogates become U+FFFD. Throws INVALID_FILE if the lengths exceed
// the text, or if the numbers of ids and tokens differ.
VocabularyTexts to_vocabulary_texts(std::u16string_view tokens, const std::vector<uint32_t>& token_lengths,
                                    const std::vector<uint32_t>& token_ids, std::u16string_view merges,
                                    const std::vector<uint32_t>& merge_lengths);

}  // namespace heddle
