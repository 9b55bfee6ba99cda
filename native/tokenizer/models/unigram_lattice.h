// The pieces that occur in the words of a corpus, and sums over all segmentations of the words.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "core/cancellation.h"
#include "tokenizer/training/unigram_trainer.h"

namespace heddle {

// Words as characters. Words are split at characters outside the alphabet.
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

// The occurrences of pieces: for each position of the corpus, the pieces that begin there, in the order of their
// length.
struct Occurrences {
  std::vector<size_t> begin;  // (positions + 1): indices into the vectors below
  std::vector<uint32_t> piece;
  std::vector<uint16_t> length;  // in characters

  // Removes pieces and renumbers the others. `renumbered`: the new index by old index, UINT32_MAX if removed.
  void keep(const std::vector<uint32_t>& renumbered);
};

// Returns the alphabet, then the repeated substrings with the greatest count × length. Omits substrings that always
// continue with the same character, like SentencePiece. A score is the logarithm of the piece's share of the sum of all
// count × length.
std::vector<Piece> seed_pieces(const UnigramCorpus& corpus, const std::vector<uint32_t>& alphabet,
    const UnigramOptions& options, Occurrences& occurrences);

// Splits the words into corpus_parts ranges, and calls work(part, begin, end) for each on up to `threads` threads. The
// number of parts is fixed, so sums over parts do not depend on the number of threads.
constexpr size_t corpus_parts = 16;
void for_each_part(const UnigramCorpus& corpus, size_t threads, const Cancellation& cancellation,
    const std::function<void(size_t part, size_t begin, size_t end)>& work);

// Returns the expected count of each piece over all segmentations of the words, weighted by their probabilities.
std::vector<double> expected_counts(const UnigramCorpus& corpus, const Occurrences& occurrences,
    const std::vector<Piece>& pieces, const UnigramOptions& options);

// Counts each piece in the best segmentation of each word.
std::vector<double> viterbi_counts(const UnigramCorpus& corpus, const Occurrences& occurrences,
    const std::vector<Piece>& pieces, const UnigramOptions& options);

}  // namespace heddle
