// Byte pair encoding that skips merges at random (BPE-dropout, Provilkov et al. 2020). The same text becomes different
// tokens with each seed, which regularizes training.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/cancellation.h"
#include "tokenizer/models/merger.h"
#include "tokenizer/vocabulary/vocab.h"

namespace heddle {

class MergeDropout {
 public:
  // Starts a text. At every step, each pair that could merge is skipped with `probability` (0: not active).
  void seed(double probability, uint64_t seed);
  bool active() const { return probability_ > 0; }

  // Merges the symbols in place and returns their remaining number. O(n log n / (1 - probability)).
  size_t run(const MergeTable& merges, std::vector<Symbol>& symbols, const Cancellation& cancellation);

 private:
  bool drops();

  double probability_ = 0;
  uint64_t state_ = 0;
  std::vector<uint32_t> pair_rank_, pair_id_, next_, previous_;
  std::vector<uint64_t> heap_, left_out_;
};

}  // namespace heddle
