// Training of a Unigram vocabulary (Kudo 2018, as SentencePiece does it): from many substrings of the words,
// expectation maximisation of their probabilities, and pruning of those whose loss costs the least, again and again.
#pragma once
#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "tokenizer/training/trainer.h"
#include "tokenizer/training/word_counts.h"

namespace heddle {

struct UnigramOptions {
  uint32_t tokens = 0;             // pieces wanted, the alphabet's included
  uint32_t seeds = 1'000'000;      // substrings to begin with
  uint32_t max_piece_length = 16;  // characters
  double shrinking_factor = 0.75;  // share of the pieces that stay after a pruning
  uint32_t sub_iterations = 2;     // of expectation maximisation before each
  AlphabetOptions alphabet;
  size_t threads = 1;  // they change nothing but the time
  const std::atomic<bool>* cancelled = nullptr;
  std::function<void(uint32_t done, uint32_t total)> progress;  // rounds, about
};

struct TrainedPiece {
  std::string text;
  double score;  // logarithm of its probability
};

// Best first. Fewer than asked for only where the words have no more substrings that occur twice; more only where the
// alphabet alone has more.
std::vector<TrainedPiece> train_unigram(const WordCounts& sorted_words, const UnigramOptions& options);

}  // namespace heddle
