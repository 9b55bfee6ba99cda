// The pieces that occur in the words of a corpus, and the sums over all ways to cut the words into them.
#pragma once
#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "tokenizer/training/unigram_trainer.h"

namespace heddle {

// Words as characters. A word is cut where a character is left out of the alphabet.
struct UnigramCorpus {
  struct Word {
    uint32_t begin, length;
    uint64_t count;
  };
  std::vector<uint32_t> characters;
  std::vector<Word> words;
};
UnigramCorpus to_characters(const WordCounts& words, const std::vector<uint32_t>& alphabet);

struct Piece {
  std::vector<uint32_t> characters;
  double score = 0;
};

// Where the pieces occur: of each position of the corpus the pieces that begin there, in the order of their length.
struct Occurrences {
  std::vector<size_t> begin;  // (positions + 1), into the two below
  std::vector<uint32_t> piece;
  std::vector<uint16_t> length;  // characters

  // Leaves those that stay; `renumbered`: new number by old one, UINT32_MAX where gone.
  void keep(const std::vector<uint32_t>& renumbered);
};

// The alphabet, then the substrings of greatest count × length that branch (maximal repeats), as SentencePiece's suffix
// array gives them; scores are the logarithms of their share of that product.
std::vector<Piece> seed_pieces(const UnigramCorpus& corpus, const std::vector<uint32_t>& alphabet,
    const UnigramOptions& options, Occurrences& occurrences);

// Calls work(part, begin, end) for each of a fixed number of parts of the words, on some threads: what is summed up by
// part is the same whatever their number.
constexpr size_t corpus_parts = 16;
void for_each_part(const UnigramCorpus& corpus, size_t threads, const std::atomic<bool>* cancelled,
    const std::function<void(size_t part, size_t begin, size_t end)>& work);

// Expected count of each piece under the scores.
std::vector<double> expected_counts(const UnigramCorpus& corpus, const Occurrences& occurrences,
    const std::vector<Piece>& pieces, const UnigramOptions& options);

// Counts each piece in the best segmentation of each word.
std::vector<double> viterbi_counts(const UnigramCorpus& corpus, const Occurrences& occurrences,
    const std::vector<Piece>& pieces, const UnigramOptions& options);

}  // namespace heddle
