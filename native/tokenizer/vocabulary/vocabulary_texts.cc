#include "tokenizer/vocabulary/vocabulary_texts.h"

#include <string>

#include "core/error.h"
#include "tokenizer/text/utf.h"

namespace heddle {

void add_parts(const char* name, std::u16string_view text, const std::vector<uint32_t>& lengths, TextBuffer& out,
    IdBuffer& out_lengths) {
  size_t at = 0;
  out_lengths.room(lengths.size());
  for (const uint32_t length : lengths) {
    if (length > text.size() - at) {
      throw invalid_file(std::string(name) + ": expected lengths that add up to at most " +
                         std::to_string(text.size()) + ", the length of the text");
    }
    const size_t size = utf::to_utf8(text.data() + at, length, out.room(3 * size_t{length}));
    out.took(size);
    out_lengths.push_back(static_cast<uint32_t>(size));
    at += length;
  }
}

void VocabularyTexts::add_token(std::string_view text, uint32_t id) {
  tokens.append(text);
  token_lengths.push_back(static_cast<uint32_t>(text.size()));
  token_ids.push_back(id);
}

void VocabularyTexts::add_merge(std::string_view left, std::string_view right) {
  for (const std::string_view part : {left, right}) {
    merges.append(part);
    merge_lengths.push_back(static_cast<uint32_t>(part.size()));
  }
}

VocabularyTexts to_vocabulary_texts(std::u16string_view tokens, const std::vector<uint32_t>& token_lengths,
    const std::vector<uint32_t>& token_ids, std::u16string_view merges, const std::vector<uint32_t>& merge_lengths) {
  if (token_ids.size() != token_lengths.size()) {
    throw invalid_file("vocab: expected one id per token, got " + std::to_string(token_ids.size()) + " for " +
                       std::to_string(token_lengths.size()));
  }
  if (merge_lengths.size() % 2 != 0)
    throw invalid_file("merges: expected two parts per merge, got an odd number of parts");
  VocabularyTexts out;
  add_parts("vocab", tokens, token_lengths, out.tokens, out.token_lengths);
  out.token_ids.append(token_ids.data(), token_ids.size());
  add_parts("merges", merges, merge_lengths, out.merges, out.merge_lengths);
  return out;
}

}  // namespace heddle
