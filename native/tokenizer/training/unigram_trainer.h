// Trains a Unigram vocabulary like SentencePiece (Kudo 2018). Starts with many substrings of the words, and repeats two
// steps. Expectation maximization estimates the pieces' probabilities. Pruning removes the pieces that contribute least
// to the likelihood.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "core/cancellation.h"
#include "tokenizer/training/trainer.h"
#include "tokenizer/training/word_counts.h"

namespace heddle {

struct UnigramOptions {
  uint32_t tokens = 0;             // number of pieces, including the alphabet
  uint32_t seeds = 1'000'000;      // number of initial substrings
  uint32_t max_piece_length = 16;  // in characters
  double shrinking_factor = 0.75;  // share of the pieces that each pruning keeps
  uint32_t sub_iterations = 2;     // rounds of expectation maximization before each pruning
  AlphabetOptions alphabet;
  size_t threads = 1;  // does not change the result
  Cancellation cancellation;
  std::function<void(uint32_t done, uint32_t total)> progress;  // in rounds; `total` is an estimate
};

struct TrainedPiece {
  std::string text;
  double score;  // logarithm of its probability
};

// Returns the pieces, best first. Returns fewer than requested only if the words have no more repeated substrings, and
// more only if the alphabet alone is larger.
std::vector<TrainedPiece> train_unigram(const WordCounts& sorted_words, const UnigramOptions& options);

}  // namespace heddle
