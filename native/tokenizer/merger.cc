#include "tokenizer/merger.h"

#include <algorithm>
#include <cstring>
#include <functional>

#include "runtime/error.h"

namespace heddle {
size_t Merger::run(const MergeTable& merges, Symbol* symbols, size_t count) {
  const auto first = [&](size_t i) { return merges.find(symbols[i].id, symbols[i + 1].id); };
  return count <= short_limit ? run_short(merges, symbols, count, first) : run_long(merges, symbols, count, first);
}

size_t Merger::run_bytes(const MergeTable& merges, std::string_view text, Symbol* symbols) {
  const auto first = [&](size_t i) {
    return merges.find_bytes(static_cast<uint8_t>(text[i]), static_cast<uint8_t>(text[i + 1]));
  };
  const size_t count = text.size();
  return count <= short_limit ? run_short(merges, symbols, count, first) : run_long(merges, symbols, count, first);
}

template <class F>
size_t Merger::run_short(const MergeTable& merges, Symbol* symbols, size_t count, F&& first) {
  Merge pairs[short_limit];
  for (size_t i = 0; i + 1 < count; ++i) pairs[i] = first(i);
  while (count > 1) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < count; ++i) {
      if (pairs[i].rank < pairs[best].rank) best = i;
    }
    if (pairs[best].rank == no_token) break;
    symbols[best].id = pairs[best].id;
    symbols[best].length += symbols[best + 1].length;
    --count;
    for (size_t i = best + 1; i < count; ++i) symbols[i] = symbols[i + 1];
    for (size_t i = best + 1; i + 1 < count; ++i) pairs[i] = pairs[i + 1];
    if (best > 0) pairs[best - 1] = merges.find(symbols[best - 1].id, symbols[best].id);
    if (best + 1 < count) pairs[best] = merges.find(symbols[best].id, symbols[best + 1].id);
  }
  return count;
}

template <class F>
size_t Merger::run_long(const MergeTable& merges, Symbol* symbols, size_t count, F&& first) {
  if (count >= no_token) {
    throw Error("UNSUPPORTED", "encode: expected pieces below 4 GiB, got " + std::to_string(count) + " bytes");
  }
  constexpr uint32_t none = UINT32_MAX;
  const auto n = static_cast<uint32_t>(count);
  pairs_.assign(count, {no_token, no_token});
  next_.resize(count);
  previous_.resize(count);
  heap_.clear();
  for (uint32_t i = 0; i < n; ++i) {
    next_[i] = i + 1 < n ? i + 1 : none;
    previous_[i] = i > 0 ? i - 1 : none;
    if (i + 1 == n) break;
    pairs_[i] = first(i);
    if (pairs_[i].rank != no_token) heap_.push_back(static_cast<uint64_t>(pairs_[i].rank) << 32 | i);
  }
  const std::greater<uint64_t> least_first;
  std::make_heap(heap_.begin(), heap_.end(), least_first);

  const auto update = [&](uint32_t i) {
    const uint32_t right = next_[i];
    pairs_[i] = right == none ? Merge{no_token, no_token} : merges.find(symbols[i].id, symbols[right].id);
    if (pairs_[i].rank == no_token) return;
    heap_.push_back(static_cast<uint64_t>(pairs_[i].rank) << 32 | i);
    std::push_heap(heap_.begin(), heap_.end(), least_first);
  };

  while (!heap_.empty()) {
    std::pop_heap(heap_.begin(), heap_.end(), least_first);
    const uint64_t top = heap_.back();
    heap_.pop_back();
    const auto i = static_cast<uint32_t>(top);
    // An entry whose pair has changed since is stale; a merged-away symbol has no pair.
    if (pairs_[i].rank != top >> 32) continue;
    const uint32_t right = next_[i];
    symbols[i].id = pairs_[i].id;
    symbols[i].length += symbols[right].length;
    pairs_[right] = {no_token, no_token};
    next_[i] = next_[right];
    if (next_[i] != none) previous_[next_[i]] = i;
    update(i);
    if (previous_[i] != none) update(previous_[i]);
  }

  size_t left = 0;
  for (uint32_t i = 0; i != none; i = next_[i]) symbols[left++] = symbols[i];
  return left;
}

}  // namespace heddle
