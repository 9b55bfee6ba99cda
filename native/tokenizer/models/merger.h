// The merge loop of byte pair encoding: merges the pair of lowest rank first, the leftmost if ranks are equal.
#pragma once
#include <atomic>
#include <cstdint>
#include <string_view>
#include <vector>

#include "tokenizer/vocabulary/vocab.h"

namespace heddle {

struct Symbol {
  uint32_t id;
  uint32_t length;  // length of its text in bytes
};

class Merger {
 public:
  static constexpr size_t short_limit = 64;  // in symbols

  // Long words throw ABORTED soon after `cancelled` is set. Null: never.
  void watch(const std::atomic<bool>* cancelled) { cancelled_ = cancelled; }

  // Merges symbols[0, count) in place and returns the remaining number. Short words repeatedly scan all pairs for the
  // best one, O(n^2) with a small constant. Long words use a heap, O(n log n), so that a megabyte without spaces cannot
  // be used for an attack.
  size_t run(const MergeTable& merges, Symbol* symbols, size_t count);

  // Merges symbols that are the bytes of `text`. Requires merges.index_bytes().
  size_t run_bytes(const MergeTable& merges, std::string_view text, Symbol* symbols);

 private:
  // first(i) returns the merge of the initial symbols i and i + 1.
  template <class F> size_t run_short(const MergeTable& merges, Symbol* symbols, size_t count, F&& first);
  template <class F> size_t run_long(const MergeTable& merges, Symbol* symbols, size_t count, F&& first);

  void look() const;

  const std::atomic<bool>* cancelled_ = nullptr;
  // The pair that starts at each symbol.
  std::vector<Merge> pairs_;
  // For long words: neighbours of each symbol, and (rank << 32 | position) of every pair.
  std::vector<uint32_t> next_, previous_;
  std::vector<uint64_t> heap_;
};

}  // namespace heddle
