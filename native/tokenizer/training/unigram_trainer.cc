#include "tokenizer/training/unigram_trainer.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <unordered_map>

#include "core/error.h"
#include "tokenizer/models/unigram_lattice.h"
#include "tokenizer/text/utf.h"

namespace heddle {
namespace {

constexpr double min_expected = 0.5;  // as in SentencePiece, pieces with a lower expected count are removed

// Evaluates an asymptotic series after shifting to x ≥ 7. The absolute error is below 1e-10.
double digamma(double x) {
  double result = 0;
  for (; x < 7; ++x) result -= 1 / x;
  x -= 0.5;
  const double xx = 1 / (x * x);
  return result + std::log(x) + (1. / 24) * xx - (7. / 960) * xx * xx + (31. / 8064) * xx * xx * xx -
         (127. / 30720) * xx * xx * xx * xx;
}

struct CharactersHash {
  size_t operator()(const std::vector<uint32_t>& characters) const {
    uint64_t hash = 0xcbf29ce484222325ULL;
    for (const uint32_t c : characters) hash = (hash ^ c) * 0x100000001b3ULL;
    return static_cast<size_t>(hash ^ hash >> 29);
  }
};

class UnigramTrainer {
 public:
  UnigramTrainer(const WordCounts& words, const UnigramOptions& options)
      : options_(options), alphabet_(choose_alphabet(words, options.alphabet)),
        corpus_(to_characters(words, alphabet_)) {
    pieces_ = seed_pieces(corpus_, alphabet_, options_, occurrences_);
  }

  std::vector<TrainedPiece> run() {
    // Trains somewhat more pieces than requested, and selects the best at the end.
    const auto desired = static_cast<size_t>(1.1 * options_.tokens);
    const double rounds = std::max(0.0, std::log(static_cast<double>(desired) / static_cast<double>(pieces_.size())) /
                                            std::log(options_.shrinking_factor));
    for (uint32_t round = 1;; ++round) {
      for (uint32_t i = 0; i < options_.sub_iterations; ++i)
        maximise(expected_counts(corpus_, occurrences_, pieces_, options_));
      if (options_.progress) options_.progress(round, std::max(round, static_cast<uint32_t>(rounds) + 1));
      if (pieces_.size() <= desired || pieces_.size() <= alphabet_.size() || !prune(desired)) break;
    }
    return finish();
  }

 private:
  bool is_required(size_t piece) const { return pieces_[piece].characters.size() == 1; }

  // The M step of variational Bayesian EM, as in SentencePiece. Its digamma function favours few pieces.
  void maximise(const std::vector<double>& expected) {
    std::vector<uint32_t> kept;
    double total = 0;
    for (uint32_t i = 0; i < pieces_.size(); ++i) {
      if (expected[i] < min_expected && !is_required(i)) continue;
      kept.push_back(i);
      total += std::max(expected[i], min_expected);
    }
    const double log_total = digamma(total);
    for (const uint32_t i : kept) pieces_[i].score = digamma(std::max(expected[i], min_expected)) - log_total;
    keep(kept);
  }

  // Removes the pieces whose removal costs the least likelihood. Returns false if none can be removed.
  bool prune(size_t desired) {
    const std::vector<double> counts = viterbi_counts(corpus_, occurrences_, pieces_, options_);
    const double sum = std::accumulate(counts.begin(), counts.end(), 0.0);
    const double log_sum = std::log(sum);
    double words = 0;
    for (const UnigramCorpus::Word& word : corpus_.words) words += static_cast<double>(word.count);
    index_.clear();
    for (uint32_t i = 0; i < pieces_.size(); ++i) index_.emplace(pieces_[i].characters, i);

    std::vector<uint32_t> kept;
    std::vector<std::pair<double, uint32_t>> candidates;  // loss and piece
    for (uint32_t i = 0; i < pieces_.size(); ++i) {
      if (is_required(i)) {
        kept.push_back(i);
        continue;
      }
      if (counts[i] == 0) continue;  // no best segmentation contains it
      const std::vector<uint32_t> parts = best_without(i);
      // Each part that replaces the piece gains the piece's count.
      const double log_sum_without = std::log(sum + counts[i] * (static_cast<double>(parts.size()) - 1));
      double without = 0;
      for (const uint32_t part : parts) without += std::log(counts[part] + counts[i]) - log_sum_without;
      candidates.emplace_back(counts[i] / words * (std::log(counts[i]) - log_sum - without), i);
    }
    const size_t before = pieces_.size();
    const size_t target =
        std::max(desired, static_cast<size_t>(options_.shrinking_factor * static_cast<double>(before)));
    std::sort(candidates.begin(), candidates.end(),
        [](const auto& a, const auto& b) { return a.first != b.first ? a.first > b.first : a.second < b.second; });
    for (const auto& candidate : candidates) {
      if (kept.size() >= target) break;
      kept.push_back(candidate.second);
    }
    std::sort(kept.begin(), kept.end());
    keep(kept);
    return pieces_.size() < before;
  }

  // Returns the best segmentation of a piece's text into other pieces.
  std::vector<uint32_t> best_without(uint32_t piece) {
    const std::vector<uint32_t>& text = pieces_[piece].characters;
    const size_t n = text.size();
    std::vector<double> best(n + 1, -std::numeric_limits<double>::infinity());
    std::vector<std::pair<uint32_t, uint32_t>> from(n + 1);
    best[0] = 0;
    std::vector<uint32_t> part;
    for (uint32_t begin = 0; begin < n; ++begin) {
      part.clear();
      for (uint32_t end = begin + 1; end <= n; ++end) {
        part.push_back(text[end - 1]);
        const auto found = index_.find(part);
        if (found == index_.end() || found->second == piece) continue;
        const double score = best[begin] + pieces_[found->second].score;
        if (score > best[end]) {
          best[end] = score;
          from[end] = {begin, found->second};
        }
      }
    }
    std::vector<uint32_t> parts;
    for (auto end = static_cast<uint32_t>(n); end > 0; end = from[end].first) parts.push_back(from[end].second);
    return parts;
  }

  void keep(const std::vector<uint32_t>& kept) {
    if (kept.size() == pieces_.size()) return;
    std::vector<uint32_t> renumbered(pieces_.size(), UINT32_MAX);
    std::vector<Piece> left;
    left.reserve(kept.size());
    for (const uint32_t i : kept) {
      renumbered[i] = static_cast<uint32_t>(left.size());
      left.push_back(std::move(pieces_[i]));
    }
    pieces_.swap(left);
    occurrences_.keep(renumbered);
  }

  // Returns the whole alphabet and the best other pieces, in descending order of their scores.
  std::vector<TrainedPiece> finish() {
    std::vector<uint32_t> order(pieces_.size());
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) {
      const Piece& x = pieces_[a];
      const Piece& y = pieces_[b];
      return x.score != y.score ? x.score > y.score : x.characters < y.characters;
    });
    size_t room = std::max<size_t>(options_.tokens, alphabet_.size()) - alphabet_.size();
    std::vector<TrainedPiece> trained;
    for (const uint32_t i : order) {
      if (!is_required(i)) {
        if (room == 0) continue;
        --room;
      }
      std::string text;
      for (const uint32_t code : pieces_[i].characters) utf::append_code(code, text);
      trained.push_back({std::move(text), pieces_[i].score});
    }
    return trained;
  }

  const UnigramOptions& options_;
  std::vector<uint32_t> alphabet_;
  UnigramCorpus corpus_;
  Occurrences occurrences_;
  std::vector<Piece> pieces_;
  std::unordered_map<std::vector<uint32_t>, uint32_t, CharactersHash> index_;
};

}  // namespace

std::vector<TrainedPiece> train_unigram(const WordCounts& sorted_words, const UnigramOptions& options) {
  return UnigramTrainer(sorted_words, options).run();
}

}  // namespace heddle
