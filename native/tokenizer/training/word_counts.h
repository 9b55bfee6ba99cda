// The distinct words of a corpus and their counts, which is all that training needs.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/cancellation.h"
#include "tokenizer/vocabulary/added_tokens.h"
#include "tokenizer/text/normalizer.h"
#include "tokenizer/split/pre_tokenizer.h"
#include "tokenizer/split/splitter.h"

namespace heddle {

// Splits text into words. Special tokens separate texts and are not words. Shared by threads.
struct WordRule {
  // Splits with a Splitter, as for byte-level vocabularies.
  WordRule(std::vector<SplitStage> stages, const std::vector<std::string>& special_tokens);
  // Splits with arbitrary normalizers and pre-tokenizers.
  WordRule(Normalizer normalizer, PreTokenizer pre_tokenizer, const std::vector<std::string>& special_tokens);

  bool general = false;
  Splitter splitter;
  Normalizer normalizer;
  PreTokenizer pre_tokenizer;
  bool needs_origins = false;
  AddedTokenMatcher specials;
};

class WordCounts {
 public:
  explicit WordCounts(std::shared_ptr<const WordRule> rule) : rule_(std::move(rule)), slots_(1 << 12, UINT32_MAX) {}
  WordCounts(std::vector<SplitStage> stages, const std::vector<std::string>& special_tokens)
      : WordCounts(std::make_shared<const WordRule>(std::move(stages), special_tokens)) {}

  // `text` must be well-formed UTF-8. Throws ABORTED soon after cancellation is requested.
  void add_text(std::string_view text, const Cancellation& cancellation);
  void add(const WordCounts& other);
  // Sorts the words by their bytes, so that their order does not depend on which thread counted a word.
  void sort();

  struct Word {
    uint64_t begin;  // in bytes()
    uint32_t length;
    uint64_t count;
  };
  const std::vector<Word>& words() const { return words_; }
  const std::string& bytes() const { return bytes_; }
  std::string_view text(const Word& word) const { return {bytes_.data() + word.begin, word.length}; }

 private:
  void add_general(
      std::string_view text, const TextSegment& segment, RegexBudget& budget, const Cancellation& cancellation);
  void add_word(const char* word, size_t length, uint64_t count = 1);
  void rehash(size_t capacity);

  std::shared_ptr<const WordRule> rule_;
  std::string bytes_;
  std::vector<Word> words_;
  std::vector<uint32_t> slots_;  // open addressing: indices into words_, UINT32_MAX if free
  std::vector<TextSegment> segments_;
};

}  // namespace heddle
