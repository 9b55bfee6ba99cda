#include "tokenizer/models/unigram_lattice.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <exception>
#include <limits>
#include <system_error>
#include <thread>

namespace heddle {

void for_each_part(const UnigramCorpus& corpus, size_t threads, const Cancellation& cancellation,
    const std::function<void(size_t part, size_t begin, size_t end)>& work) {
  const size_t words = corpus.words.size();
  std::atomic<size_t> next{0};
  std::vector<std::exception_ptr> failures(std::max<size_t>(1, threads));
  const auto run = [&](size_t index) {
    try {
      for (size_t part = next++; part < corpus_parts; part = next++) {
        cancellation.check();
        work(part, words * part / corpus_parts, words * (part + 1) / corpus_parts);
      }
    } catch (...) {
      failures[index] = std::current_exception();
    }
  };
  std::vector<std::thread> helpers;
  try {
    for (size_t i = 1; i < failures.size(); ++i) helpers.emplace_back(run, i);
  } catch (const std::system_error&) {  // the threads that have started do the work
  }
  run(0);
  for (std::thread& helper : helpers) helper.join();
  for (const std::exception_ptr& failure : failures) {
    if (failure) std::rethrow_exception(failure);
  }
}

namespace {

constexpr double never = -std::numeric_limits<double>::infinity();

double log_add(double a, double b) {
  if (a < b) std::swap(a, b);
  return b == never ? a : a + std::log1p(std::exp(b - a));
}

std::vector<double> sum(const std::vector<std::vector<double>>& parts) {
  std::vector<double> total(parts[0].size(), 0);
  for (const std::vector<double>& part : parts) {
    for (size_t i = 0; i < part.size(); ++i) total[i] += part[i];
  }
  return total;
}

// Computes forward and backward sums of one word.
class Lattice {
 public:
  Lattice(const Occurrences& occurrences, const std::vector<Piece>& pieces, const std::vector<double>& probabilities)
      : occurrences_(occurrences), pieces_(pieces), probabilities_(probabilities) {}

  // Adds the expected count of each piece to `counts`. Sums the probabilities of short words directly. Uses logarithms
  // for long words, and for short ones whose probabilities might underflow.
  void add_expected(const UnigramCorpus::Word& word, std::vector<double>& counts) {
    if (word.length > short_word || !add_short(word, counts)) add_long(word, counts);
  }

  void add_best(const UnigramCorpus::Word& word, std::vector<double>& counts) {
    const uint32_t n = word.length;
    forward_.assign(n + 1, never);
    from_.resize(n + 1);
    forward_[0] = 0;
    for (uint32_t i = 0; i < n; ++i) {
      for (size_t k = occurrences_.begin[word.begin + i]; k < occurrences_.begin[word.begin + i + 1]; ++k) {
        const double score = forward_[i] + pieces_[occurrences_.piece[k]].score;
        const uint32_t end = i + occurrences_.length[k];
        if (score > forward_[end]) {
          forward_[end] = score;
          from_[end] = {i, occurrences_.piece[k]};
        }
      }
    }
    for (uint32_t end = n; end > 0; end = from_[end].first)
      counts[from_[end].second] += static_cast<double>(word.count);
  }

 private:
  static constexpr uint32_t short_word = 24;

  bool add_short(const UnigramCorpus::Word& word, std::vector<double>& counts) {
    const uint32_t n = word.length;
    double forward[short_word + 1] = {1};
    double backward[short_word + 1] = {};
    for (uint32_t i = 0; i < n; ++i) {
      for (size_t k = occurrences_.begin[word.begin + i]; k < occurrences_.begin[word.begin + i + 1]; ++k) {
        forward[i + occurrences_.length[k]] += forward[i] * probabilities_[occurrences_.piece[k]];
      }
    }
    if (!(forward[n] > 1e-250)) return false;
    backward[n] = static_cast<double>(word.count) / forward[n];
    for (uint32_t i = n; i-- > 0;) {
      for (size_t k = occurrences_.begin[word.begin + i]; k < occurrences_.begin[word.begin + i + 1]; ++k) {
        const double share = probabilities_[occurrences_.piece[k]] * backward[i + occurrences_.length[k]];
        backward[i] += share;
        counts[occurrences_.piece[k]] += forward[i] * share;
      }
    }
    return true;
  }

  void add_long(const UnigramCorpus::Word& word, std::vector<double>& counts) {
    const uint32_t n = word.length;
    forward_.assign(n + 1, never);
    backward_.assign(n + 1, never);
    forward_[0] = backward_[n] = 0;
    for (uint32_t i = 0; i < n; ++i) {
      for (size_t k = occurrences_.begin[word.begin + i]; k < occurrences_.begin[word.begin + i + 1]; ++k) {
        double& end = forward_[i + occurrences_.length[k]];
        end = log_add(end, forward_[i] + pieces_[occurrences_.piece[k]].score);
      }
    }
    for (uint32_t i = n; i-- > 0;) {
      for (size_t k = occurrences_.begin[word.begin + i]; k < occurrences_.begin[word.begin + i + 1]; ++k) {
        const double share = pieces_[occurrences_.piece[k]].score + backward_[i + occurrences_.length[k]];
        backward_[i] = log_add(backward_[i], share);
        counts[occurrences_.piece[k]] += static_cast<double>(word.count) * std::exp(forward_[i] + share - forward_[n]);
      }
    }
  }

  const Occurrences& occurrences_;
  const std::vector<Piece>& pieces_;
  const std::vector<double>& probabilities_;
  std::vector<double> forward_, backward_;
  std::vector<std::pair<uint32_t, uint32_t>> from_;  // last piece of the best path to a position: begin and index
};

template <class Add>
std::vector<double> count(const UnigramCorpus& corpus, const Occurrences& occurrences, const std::vector<Piece>& pieces,
    const UnigramOptions& options, const Add& add) {
  std::vector<double> probabilities(pieces.size());
  for (size_t i = 0; i < pieces.size(); ++i) probabilities[i] = std::exp(pieces[i].score);
  std::vector<std::vector<double>> parts(corpus_parts);
  for_each_part(corpus, options.threads, options.cancellation, [&](size_t part, size_t begin, size_t end) {
    Lattice lattice(occurrences, pieces, probabilities);
    parts[part].assign(pieces.size(), 0);
    for (size_t w = begin; w < end; ++w) add(lattice, corpus.words[w], parts[part]);
  });
  return sum(parts);
}

}  // namespace

std::vector<double> expected_counts(const UnigramCorpus& corpus, const Occurrences& occurrences,
    const std::vector<Piece>& pieces, const UnigramOptions& options) {
  return count(corpus, occurrences, pieces, options,
      [](Lattice& lattice, const UnigramCorpus::Word& word, std::vector<double>& counts) {
    lattice.add_expected(word, counts);
  });
}

std::vector<double> viterbi_counts(const UnigramCorpus& corpus, const Occurrences& occurrences,
    const std::vector<Piece>& pieces, const UnigramOptions& options) {
  return count(corpus, occurrences, pieces, options,
      [](Lattice& lattice, const UnigramCorpus::Word& word, std::vector<double>& counts) {
    lattice.add_best(word, counts);
  });
}

}  // namespace heddle
