// The content of a vocabulary file: tokens with their ids, merges and scores.
#pragma once
#include <cstdint>
#include <string_view>
#include <vector>

#include "tokenizer/buffers.h"

namespace heddle {

struct VocabularyTexts {
  TextBuffer tokens;                  // UTF-8, back to back
  IdBuffer token_lengths, token_ids;  // lengths in bytes
  TextBuffer merges;                  // left and right parts alternate
  IdBuffer merge_lengths;
  // Alternative to `merges` and `merge_lengths`: three token indices per merge, of the left, right and resulting token.
  IdBuffer merge_tokens;
  std::vector<uint32_t> merge_ranks;  // one per merge; if empty, a merge's rank is its index
  // Scores of Unigram's tokens, or of tokens whose scores define the merges: see score_merges.h.
  std::vector<double> scores;
  // One per token: whether it may be a part or the result of a merge by score. Empty: merges are given.
  std::vector<uint8_t> mergeable;

  void add_token(std::string_view text, uint32_t id);
  void add_merge(std::string_view left, std::string_view right);
};

// Appends the parts of `text` as UTF-8, and the length of each in bytes. `lengths` are in UTF-16 units. Throws
// INVALID_FILE with `name` if the lengths add up to more than the text.
void add_parts(const char* name, std::u16string_view text, const std::vector<uint32_t>& lengths, TextBuffer& out,
    IdBuffer& out_lengths);

// Converts joined UTF-16 texts with their lengths in units. Lone surrogates become U+FFFD. Throws INVALID_FILE if the
// lengths exceed the text, or if the numbers of ids and tokens differ.
VocabularyTexts to_vocabulary_texts(std::u16string_view tokens, const std::vector<uint32_t>& token_lengths,
    const std::vector<uint32_t>& token_ids, std::u16string_view merges, const std::vector<uint32_t>& merge_lengths);

}  // namespace heddle
