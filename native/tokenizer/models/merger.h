// The merge loop of byte pair encoding: the pair of lowest rank first, the leftmost of equals.
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
  static constexpr size_t short_limit = 64;  // symbols

  // Long words throw ABORTED soon after it is set; null: none.
  void watch(const std::atomic<bool>* cancelled) { cancelled_ = cancelled; }

  // Merges symbols[0, count) in place and returns the remaining number. Short words scan all pairs for the best one
  // repeatedly, O(n^2) with a tiny constant. Long words use a heap, O(n log n), so that a megabyte without a space is
  // not an attack.
  size_t run(const MergeTable& merges, Symbol* symbols, size_t count);

  // The same where each symbol is a byte of `text`, and the merges know their bytes.
  size_t run_bytes(const MergeTable& merges, std::string_view text, Symbol* symbols);

 private:
  // first(i): the merge of symbols i and i + 1.
  template <class F> size_t run_short(const MergeTable& merges, Symbol* symbols, size_t count, F&& first);
  template <class F> size_t run_long(const MergeTable& merges, Symbol* symbols, size_t count, F&& first);

  void look() const;

  const std::atomic<bool>* cancelled_ = nullptr;
  // The pair that starts at each symbol.
  std::vector<Merge> pairs_;
  // For the long form: neighbours of each symbol, and (rank << 32 | position) of every pair.
  std::vector<uint32_t> next_, previous_;
  std::vector<uint64_t> heap_;
};

}  // namespace heddle
