#include "tokenizer/models/merge_dropout.h"

#include <algorithm>
#include <functional>
#include <string>

#include "core/error.h"

namespace heddle {

void MergeDropout::seed(double probability, uint64_t seed) {
  probability_ = probability;
  state_ = seed;
}

// Draws whether to skip a pair, with the generator SplitMix64 (Steele et al. 2014).
bool MergeDropout::drops() {
  state_ += 0x9E3779B97F4A7C15ULL;
  uint64_t x = state_;
  x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9ULL;
  x = (x ^ x >> 27) * 0x94D049BB133111EBULL;
  return static_cast<double>((x ^ x >> 31) >> 11) * 0x1p-53 < probability_;
}

size_t MergeDropout::run(const MergeTable& merges, std::vector<Symbol>& symbols, const Cancellation& cancellation) {
  if (symbols.size() >= no_token)
    throw Error("UNSUPPORTED",
        "encode: expected pieces below 4 GiB, got one of " + std::to_string(symbols.size()) + " symbols");
  constexpr uint32_t none = UINT32_MAX;
  const auto n = static_cast<uint32_t>(symbols.size());
  if (n < 2) return n;
  pair_rank_.assign(n, no_token);
  pair_id_.assign(n, no_token);
  next_.resize(n);
  previous_.resize(n);
  heap_.clear();
  left_out_.clear();
  const std::greater<uint64_t> min_first;
  const auto push = [&](uint64_t entry) {
    heap_.push_back(entry);
    std::push_heap(heap_.begin(), heap_.end(), min_first);
  };
  const auto update = [&](uint32_t i) {
    const uint32_t right = next_[i];
    const Merge merge = right == none ? Merge{no_token, no_token} : merges.find(symbols[i].id, symbols[right].id);
    pair_rank_[i] = merge.rank;
    pair_id_[i] = merge.id;
    if (merge.rank != no_token) push(static_cast<uint64_t>(merge.rank) << 32 | i);
  };
  for (uint32_t i = 0; i < n; ++i) {
    next_[i] = i + 1 < n ? i + 1 : none;
    previous_[i] = i > 0 ? i - 1 : none;
  }
  for (uint32_t i = 0; i + 1 < n; ++i) update(i);

  // Each step skips pairs at random and merges the pair of lowest rank that remains. After the merge, skipped pairs are
  // candidates again.
  size_t steps = 0;
  while (!heap_.empty()) {
    if ((++steps & 0xFFFF) == 0) cancellation.check();
    std::pop_heap(heap_.begin(), heap_.end(), min_first);
    const uint64_t top = heap_.back();
    heap_.pop_back();
    const auto i = static_cast<uint32_t>(top);
    if (pair_rank_[i] != top >> 32) continue;  // an outdated entry: the pair has changed
    if (drops()) {
      left_out_.push_back(top);
      continue;
    }
    const uint32_t right = next_[i];
    symbols[i].id = pair_id_[i];
    symbols[i].length += symbols[right].length;
    pair_rank_[right] = no_token;
    next_[i] = next_[right];
    if (next_[i] != none) previous_[next_[i]] = i;
    update(i);
    if (previous_[i] != none) update(previous_[i]);
    for (const uint64_t entry : left_out_) push(entry);
    left_out_.clear();
  }

  size_t left = 0;
  for (uint32_t i = 0; i != none; i = next_[i]) symbols[left++] = symbols[i];
  return left;
}

}  // namespace heddle
