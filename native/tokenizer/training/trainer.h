// Training of byte pair encodings: merge the most frequent pair of a corpus's words again and again. After Sennrich et
// al. 2016; pair counts are kept up to date as the trainers of SentencePiece and Hugging Face do.
#pragma once
#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "tokenizer/training/word_counts.h"

namespace heddle {

struct TrainOptions {
  uint32_t tokens = 0;     // how many to make beyond the alphabet; fewer if the words have no more pairs
  uint64_t min_count = 1;  // pairs that are rarer are not merged
  const std::atomic<bool>* cancelled = nullptr;
  std::function<void(uint32_t done)> progress;  // called now and then
};

// Words as symbols of an alphabet, laid end to end.
struct SymbolWords {
  struct Word {
    uint32_t begin, length;  // in `symbols`
    uint64_t count;
  };
  std::vector<std::string> alphabet;
  std::vector<uint32_t> symbols;
  std::vector<Word> words;
  std::string subword_prefix;  // what later symbols of a word are written with in front; a merge writes it once
};

// Tokens by number: the alphabet, then merged ones in the order in which they were made.
struct TrainedMerge {
  uint32_t left, right, token;
};

// Returns the merges, best first. Ties go to the pair with the lexicographically greater bytes, comparing the first
// parts first. The result does not depend on the order of words. A token occurs in two merges only if both make the
// same bytes.
std::vector<TrainedMerge> train_bpe(const SymbolWords& words, const TrainOptions& options);

// Over the 256 bytes.
std::vector<TrainedMerge> train_bpe(const WordCounts& words, const TrainOptions& options);

struct AlphabetOptions {
  double coverage = 1;          // share of the text's characters that the alphabet is to have; the rarest are left out
  uint32_t limit = UINT32_MAX;  // characters at most
  uint64_t min_count = 1;       // rarer ones are left out
  std::string subword_prefix;   // marks a word's later characters, which are separate symbols
};

// The characters of words, most frequent first, of equals the lesser code point.
std::vector<uint32_t> choose_alphabet(const WordCounts& words, const AlphabetOptions& options);

// Words as characters of the alphabet. A word is cut where a character is left out.
SymbolWords to_symbols(const WordCounts& words, const AlphabetOptions& options);

}  // namespace heddle
