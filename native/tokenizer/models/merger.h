// The merge loop of byte pair encoding: merges the pair of lowest rank first, the leftmost if ranks are equal.
#pragma once
#include <cstdint>
#include <string_view>
#include <vector>

#include "core/cancellation.h"
#include "tokenizer/vocabulary/vocab.h"

namespace heddle {

struct Symbol {
  uint32_t id;
  uint32_t length;  // length of its text in bytes
};

class Merger {
 public:
  static constexpr size_t short_limit = 64;  // in symbols

  // Makes merges of long words throw ABORTED soon after cancellation is requested.
  void watch(const Cancellation& cancellation) { cancellation_ = cancellation; }

  // Merges symbols[0, count) in place and returns the remaining number. Short words are merged by scanning all pairs
  // for the best one, in O(n^2) with a small constant. Long words use a heap, in O(n log n), so that a megabyte without
  // spaces cannot stall the process.
  size_t run(const MergeTable& merges, Symbol* symbols, size_t count);

  // Merges symbols that are the bytes of `text`. Requires merges.index_bytes().
  size_t run_bytes(const MergeTable& merges, std::string_view text, Symbol* symbols);

 private:
  // first(i) returns the merge of the initial symbols i and i + 1.
  template <class F> size_t run_short(const MergeTable& merges, Symbol* symbols, size_t count, F&& first);
  template <class F> size_t run_long(const MergeTable& merges, Symbol* symbols, size_t count, F&& first);

  Cancellation cancellation_;
  // For long words: the merge of each symbol with the next one, and the neighbors of each symbol. The heap has
  // (rank << 32 | position) of every merge.
  std::vector<Merge> pairs_;
  std::vector<uint32_t> next_, previous_;
  std::vector<uint64_t> heap_;
};

}  // namespace heddle
