// A file's vocabulary, read without creating JavaScript objects: the two long parts of a tokenizer.json, model.vocab
// and model.merges, or the lists of listed_vocabulary.h.
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/vocabulary/vocabulary_texts.h"
#include "tokenizer/memory.h"
#include "tokenizer/vocabulary/vocab.h"

namespace heddle {

struct FileVocabulary {
  // The file without the content of the two parts. JavaScript parses it: see is_parsable(). Empty for other formats.
  std::string rest;
  VocabularyTexts texts;

  // Returns the id of a token as written in the file, or UINT32_MAX.
  uint32_t find(std::string_view token) const;
  // Returns the ids of several tokens. Without a table, in one pass over the vocabulary.
  std::vector<uint32_t> find_all(const std::vector<std::string>& tokens) const;
  // Returns the index of a token in `texts`, or UINT32_MAX.
  uint32_t number_of(std::string_view token) const;
  std::string_view token(size_t number) const {
    const size_t known = number / begin_step * begin_step;
    size_t begin = begins_[number / begin_step];
    for (size_t i = known; i < number; ++i) begin += texts.token_lengths[i];
    return texts.tokens.view().substr(begin, texts.token_lengths[number]);
  }

  // Validates `rest` and the texts after they have been filled in, and prepares searches. Returns false for
  // inconsistent lengths, ids out of range, malformed UTF-8, and merges with a missing token or a wrong result. `rest`
  // must be parsable.
  bool check();
  // Prepares searches without check(), after the texts have been filled in. If a token occurs twice, the first one is
  // found. Most vocabularies that use this are hardly searched, so the table is built when a search needs it.
  void place_tokens();
  size_t size() const { return texts.token_ids.size(); }

 private:
  friend std::unique_ptr<const FileVocabulary> read_json_vocabulary(std::string_view json);
  bool index();  // returns false if a token occurs twice
  bool fill_slots(bool may_repeat) const;
  uint32_t scan(std::string_view token) const;  // number_of() without the table
  // index() builds the table at once, but drops it above max_kept tokens, because a few searches do not justify its
  // memory. Without a table, the first max_scans searches scan all tokens, and the next one builds it.
  static constexpr size_t max_kept = 1 << 19;
  static constexpr int max_scans = 8;
  static constexpr size_t begin_step = 16;
  IdBuffer begins_;  // where every begin_step-th token begins in `texts.tokens`
  bool is_indexed_ = false;
  mutable std::atomic<int> scans_{0};
  mutable std::once_flag slots_once_;
  mutable std::unique_ptr<ZeroTable<TokenSlot>> slots_;
  mutable size_t mask_ = 0;
};

// Returns null unless the file has the form that Hugging Face's library writes. If null, the reader in TypeScript reads
// the file, or reports what is wrong. Of `rest`, checks only the UTF-8, the nesting depth and the number of values. The
// vocabulary is an object, or Unigram's list of tokens and scores. Merges may be missing.
std::unique_ptr<const FileVocabulary> read_json_vocabulary(std::string_view json);

}  // namespace heddle
