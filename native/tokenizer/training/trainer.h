// Trains byte pair encodings: repeatedly merges the most frequent pair of a corpus's words. After Sennrich et al. 2016.
// Pair counts are updated incrementally, as in the trainers of SentencePiece and Hugging Face.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "core/cancellation.h"
#include "tokenizer/training/word_counts.h"

namespace heddle {

struct TrainOptions {
  uint32_t tokens = 0;     // tokens to add to the alphabet; fewer if the words have no more pairs
  uint64_t min_count = 1;  // rarer pairs are not merged
  Cancellation cancellation;
  std::function<void(uint32_t done)> progress;  // called at intervals with the number of merges so far
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
  std::string subword_prefix;  // prefix of a word's symbols after the first; a merge drops it from the right part
};

// Tokens are numbered in this order: the alphabet, then merged tokens by their first merge.
struct TrainedMerge {
  uint32_t left, right, token;
};

// Returns the merges in the order of training. If pairs are equally frequent, the one with the lexicographically
// greater left part comes first, then the one with the greater right part. The result does not depend on the order of
// words. Merges that produce the same bytes share one token.
std::vector<TrainedMerge> train_bpe(const SymbolWords& words, const TrainOptions& options);

// Like train_bpe above, with the 256 bytes as the alphabet.
std::vector<TrainedMerge> train_bpe(const WordCounts& words, const TrainOptions& options);

struct AlphabetOptions {
  double coverage = 1;  // minimum share of the text's characters that the alphabet covers; the rarest are left out
  uint32_t limit = UINT32_MAX;  // maximum number of characters
  uint64_t min_count = 1;       // rarer characters are left out
  // Prefix of a word's characters after the first. A character with the prefix is a separate symbol.
  std::string subword_prefix;
};

// Returns the characters of the words, most frequent first, and by code point if equally frequent.
std::vector<uint32_t> choose_alphabet(const WordCounts& words, const AlphabetOptions& options);

// Converts words to symbols of the alphabet. Words are split at characters outside it.
SymbolWords to_symbols(const WordCounts& words, const AlphabetOptions& options);

}  // namespace heddle
