// Trains byte pair encodings: repeatedly merges the most frequent pair of a corpus's words. After Sennrich et al. 2016.
// Pair counts are updated incrementally, as in the trainers of SentencePiece and Hugging Face.
#pragma once
#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "tokenizer/training/word_counts.h"

namespace heddle {

struct TrainOptions {
  uint32_t tokens = 0;     // tokens to add to the alphabet; fewer if the words have no more pairs
  uint64_t min_count = 1;  // rarer pairs are not merged
  const std::atomic<bool>* cancelled = nullptr;
  std::function<void(uint32_t done)> progress;  // called from time to time
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
  std::string subword_prefix;  // prefix of later symbols of a word; a merged token has it once
};

// Tokens are numbered: the alphabet first, then merged tokens in the order of their merges.
struct TrainedMerge {
  uint32_t left, right, token;
};

// Returns the merges, best first. Of equally frequent pairs, the one with the lexicographically greater bytes comes
// first, comparing left parts first. The result does not depend on the order of words. A token occurs in two merges
// only if both produce the same bytes.
std::vector<TrainedMerge> train_bpe(const SymbolWords& words, const TrainOptions& options);

// Trains over the 256 bytes.
std::vector<TrainedMerge> train_bpe(const WordCounts& words, const TrainOptions& options);

struct AlphabetOptions {
  double coverage = 1;  // minimum share of the text's characters that the alphabet covers; the rarest are left out
  uint32_t limit = UINT32_MAX;  // maximum number of characters
  uint64_t min_count = 1;       // rarer characters are left out
  std::string subword_prefix;   // marks a word's later characters, which are separate symbols
};

// Returns the characters of the words, most frequent first, and by code point if equally frequent.
std::vector<uint32_t> choose_alphabet(const WordCounts& words, const AlphabetOptions& options);

// Converts words to symbols of the alphabet. Words are split at characters outside it.
SymbolWords to_symbols(const WordCounts& words, const AlphabetOptions& options);

}  // namespace heddle
