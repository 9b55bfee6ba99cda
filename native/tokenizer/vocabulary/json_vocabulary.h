// A file's vocabulary, read without making JavaScript objects of it: the two long parts of a tokenizer.json,
// model.vocab and model.merges, or the lists of listed_vocabulary.h.
#pragma once
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/vocabulary/vocabulary_texts.h"
#include "tokenizer/memory.h"

namespace heddle {

struct JsonVocabulary {
  std::string rest;  // the file with {} and [] in their places; empty for other formats
  VocabularyTexts texts;

  // The id of a token as written in the file, or UINT32_MAX.
  uint32_t find(std::string_view token) const;
  // Its index among the texts, or UINT32_MAX.
  uint32_t number_of(std::string_view token) const;
  std::string_view token(size_t number) const {
    return texts.tokens.view().substr(begins_.data()[number], texts.token_lengths[number]);
  }

  // Validates the texts after they have been filled in. Returns false for duplicate tokens, inconsistent lengths, ids
  // out of range and malformed UTF-8. Also for merges with a missing token or a wrong result.
  bool check();
  // Prepares searches after the texts have been filled in. If a token occurs twice, the first one is found. The table
  // is built by the first search, because most such vocabularies are hardly searched.
  void place_tokens();
  size_t size() const { return texts.token_ids.size(); }

 private:
  struct Slot {
    uint32_t hash, token;  // 1 + its number; 0 where free
  };
  friend std::unique_ptr<const JsonVocabulary> read_json_vocabulary(std::string_view json);
  bool index();  // false if a token is there twice
  bool fill_slots(bool may_repeat) const;
  RawBuffer<uint32_t> begins_;
  mutable std::once_flag slots_once_;
  mutable std::unique_ptr<ZeroTable<Slot>> slots_;
  mutable size_t mask_ = 0;
};

// Null for anything but a file as Hugging Face's library writes it: whoever reads it then in the usual way says what is
// wrong, if anything is. `rest` is checked for UTF-8 and the number of its values, and for nothing else. The vocabulary
// is an object, or Unigram's list of tokens and scores; merges may be missing.
std::unique_ptr<const JsonVocabulary> read_json_vocabulary(std::string_view json);

}  // namespace heddle
