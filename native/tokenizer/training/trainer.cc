#include "tokenizer/training/trainer.h"

#include <algorithm>
#include <unordered_map>

#include "tokenizer/vocabulary/vocab.h"

namespace heddle {
namespace {

constexpr uint32_t none = UINT32_MAX;

struct Pair {
  uint32_t left, right;
  int64_t count = 0;
  std::vector<uint32_t> positions;  // where the pair has occurred; another pair may be there now
};

// Trains on all words, laid end to end. A position is the index of a symbol. The position of a token is that of its
// first symbol.
class Trainer {
 public:
  Trainer(const SymbolWords& words, const TrainOptions& options)
      : words_(words), options_(options), tokens_(words.alphabet), symbol_(words.symbols) {
    // A merge whose text equals a symbol reuses it, for example "##" if that is the subword prefix.
    for (uint32_t i = 0; i < tokens_.size(); ++i) merged_.emplace(tokens_[i], i);
    lay_out();
    for (uint32_t i = 0; i < pairs_.size(); ++i) push(i);
  }

  std::vector<TrainedMerge> run() {
    std::vector<TrainedMerge> merges;
    while (tokens_.size() < words_.alphabet.size() + static_cast<size_t>(options_.tokens)) {
      options_.cancellation.check();
      const uint32_t best = pop();
      if (best == none || pairs_[best].count < static_cast<int64_t>(options_.min_count)) break;
      const uint32_t left = pairs_[best].left;
      const uint32_t right = pairs_[best].right;
      const uint32_t token = token_of(joined(tokens_[left], tokens_[right]));
      merge(best, token);
      merges.push_back({left, right, token});
      if (options_.progress && merges.size() % 64 == 0) options_.progress(static_cast<uint32_t>(merges.size()));
    }
    return merges;
  }

 private:
  struct Entry {
    int64_t count;
    uint32_t pair;
  };

  void lay_out() {
    const size_t size = symbol_.size();
    length_.assign(size, 1);
    start_.resize(size);
    word_.resize(size);
    pair_at_.assign(size, none);
    for (uint32_t w = 0; w < words_.words.size(); ++w) {
      const SymbolWords::Word& word = words_.words[w];
      for (uint32_t p = word.begin; p < word.begin + word.length; ++p) {
        start_[p] = p;
        word_[p] = w;
      }
      for (uint32_t p = word.begin; p + 1 < word.begin + word.length; ++p)
        add_pair(p, symbol_[p], symbol_[p + 1], word.count);
    }
  }

  std::string joined(const std::string& left, const std::string& right) const {
    const std::string& prefix = words_.subword_prefix;
    const bool cut = !prefix.empty() && right.compare(0, prefix.size(), prefix) == 0;
    return cut ? left + right.substr(prefix.size()) : left + right;
  }

  // Records that the pair at position p is now (left, right).
  void add_pair(uint32_t p, uint32_t left, uint32_t right, uint64_t count) {
    const uint32_t index = pair_of(left, right);
    Pair& pair = pairs_[index];
    pair.count += static_cast<int64_t>(count);
    pair.positions.push_back(p);
    pair_at_[p] = index;
    if (reused_) fresh_.push_back(index);
  }

  uint32_t pair_of(uint32_t left, uint32_t right) {
    const Merge known = index_.find(left, right);
    if (known.rank != no_token) return known.id;
    const auto index = static_cast<uint32_t>(pairs_.size());
    pairs_.push_back({left, right, 0, {}});
    index_.add(left, right, {0, index});
    fresh_.push_back(index);
    return index;
  }

  uint32_t token_of(const std::string& bytes) {
    const auto found = merged_.find(bytes);
    reused_ = found != merged_.end();  // pairs of a known token may be in the heap already, with counts that now rise
    if (reused_) return found->second;
    const auto token = static_cast<uint32_t>(tokens_.size());
    tokens_.push_back(bytes);
    merged_.emplace(bytes, token);
    return token;
  }

  void merge(uint32_t index, uint32_t token) {
    std::vector<uint32_t> positions = std::move(pairs_[index].positions);
    const uint32_t left = pairs_[index].left;
    const uint32_t right = pairs_[index].right;
    // Only a pair of two equal tokens can overlap itself. The leftmost of overlapping occurrences is merged.
    if (left == right) std::sort(positions.begin(), positions.end());
    fresh_.clear();
    for (const uint32_t p : positions) {
      if (pair_at_[p] != index) continue;
      const uint64_t count = words_.words[word_[p]].count;
      const uint32_t q = p + length_[p];
      const uint32_t end = q + length_[q];
      if (pair_at_[q] != none) {  // another symbol follows in the same word
        pairs_[pair_at_[q]].count -= static_cast<int64_t>(count);
        add_pair(p, token, symbol_[end], count);
      } else {
        pair_at_[p] = none;
      }
      pair_at_[q] = none;
      symbol_[p] = token;
      length_[p] = end - p;
      start_[end - 1] = p;
      if (p > 0 && word_[p - 1] == word_[p]) {
        const uint32_t before = start_[p - 1];
        pairs_[pair_at_[before]].count -= static_cast<int64_t>(count);
        add_pair(before, symbol_[before], token, count);
      }
    }
    pairs_[index].count = 0;
    for (const uint32_t pair : fresh_) push(pair);
  }

  // Whether a comes after b in merge order.
  bool after(const Entry& a, const Entry& b) const {
    if (a.count != b.count) return a.count < b.count;
    const Pair& x = pairs_[a.pair];
    const Pair& y = pairs_[b.pair];
    if (x.left != y.left) return tokens_[x.left] < tokens_[y.left];
    return tokens_[x.right] < tokens_[y.right];
  }

  void push(uint32_t pair) {
    heap_.push_back({pairs_[pair].count, pair});
    std::push_heap(heap_.begin(), heap_.end(), [this](const Entry& a, const Entry& b) { return after(a, b); });
  }

  // Returns the most frequent pair. If a pair's count has changed since its entry was pushed, pushes it again with the
  // current count. merge() pushes every pair whose count has risen, so no entry is missing.
  uint32_t pop() {
    while (!heap_.empty()) {
      std::pop_heap(heap_.begin(), heap_.end(), [this](const Entry& a, const Entry& b) { return after(a, b); });
      const Entry top = heap_.back();
      heap_.pop_back();
      if (pairs_[top.pair].count == top.count) return top.count > 0 ? top.pair : none;
      if (pairs_[top.pair].count > 0) push(top.pair);
    }
    return none;
  }

  const SymbolWords& words_;
  const TrainOptions& options_;
  std::vector<std::string> tokens_;  // bytes by token: the alphabet, then merged tokens
  std::unordered_map<std::string, uint32_t> merged_;
  std::vector<uint32_t> symbol_;   // by position: its token
  std::vector<uint32_t> length_;   // by position: symbols of the token that starts here
  std::vector<uint32_t> start_;    // by position: start of the token that ends here
  std::vector<uint32_t> word_;     // by position: its word
  std::vector<uint32_t> pair_at_;  // by position: the pair that starts here, or none
  std::vector<Pair> pairs_;
  std::vector<uint32_t> fresh_;  // pairs to push onto the heap after this merge
  bool reused_ = false;          // this merge produces the bytes of an earlier token
  MergeTable index_;             // maps the tokens of a pair to its index in pairs_, stored as Merge::id
  std::vector<Entry> heap_;
};

}  // namespace

std::vector<TrainedMerge> train_bpe(const SymbolWords& words, const TrainOptions& options) {
  return Trainer(words, options).run();
}

std::vector<TrainedMerge> train_bpe(const WordCounts& words, const TrainOptions& options) {
  SymbolWords bytes;
  for (int byte = 0; byte < 256; ++byte) bytes.alphabet.emplace_back(1, static_cast<char>(byte));
  bytes.symbols.assign(words.bytes().size(), 0);
  std::transform(words.bytes().begin(), words.bytes().end(), bytes.symbols.begin(),
      [](char byte) { return static_cast<uint8_t>(byte); });
  for (const WordCounts::Word& word : words.words()) {
    bytes.words.push_back({static_cast<uint32_t>(word.begin), word.length, word.count});
  }
  return train_bpe(bytes, options);
}

}  // namespace heddle
