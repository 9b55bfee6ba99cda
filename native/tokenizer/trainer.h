// Training of a byte-level BPE vocabulary: count the words of a corpus, then merge the most frequent pair again and again.
// After Sennrich et al. 2016; pair counts are kept up to date as the trainers of SentencePiece and Hugging Face do.
#pragma once
#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/added_tokens.h"
#include "tokenizer/splitter.h"

namespace heddle {

// The distinct words of a corpus and how often each occurs.
class WordCounts {
 public:
  // Special tokens separate texts and are not counted as words.
  WordCounts(std::vector<SplitStage> stages, const std::vector<std::string>& special_tokens);

  // `text` is well-formed UTF-8. Throws ABORTED soon after `cancelled` is set.
  void add_text(std::string_view text, const std::atomic<bool>& cancelled);

  struct Word {
    uint64_t begin;  // in bytes()
    uint32_t length;
    uint64_t count;
  };
  const std::vector<Word>& words() const { return words_; }
  const std::string& bytes() const { return bytes_; }

 private:
  void add_word(const char* word, size_t length);
  void grow();

  Splitter splitter_;
  AddedTokenMatcher specials_;
  std::string bytes_;
  std::vector<Word> words_;
  std::vector<uint32_t> slots_;  // open addressing: indices into words_, UINT32_MAX where free
  std::vector<Segment> segments_;
};

struct TrainOptions {
  uint32_t tokens = 0;     // how many to make beyond the 256 bytes; fewer if the words have no more pairs
  uint64_t min_count = 1;  // pairs that are rarer are not merged
  const std::atomic<bool>* cancelled = nullptr;
  std::function<void(uint32_t done)> progress;  // called now and then
};

// Tokens by number: the 256 bytes, then merged ones in the order in which they were made.
struct TrainedMerge {
  uint32_t left, right, token;
};

// The merges, best first. Of pairs equally frequent the one whose bytes are lexicographically greater comes first
// (first part first). The same words give the same merges, whatever their order. A token occurs in two merges only if
// both make the same bytes.
std::vector<TrainedMerge> train_bpe(const WordCounts& words, const TrainOptions& options);

}  // namespace heddle
