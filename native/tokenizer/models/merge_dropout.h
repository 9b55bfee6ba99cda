// Byte pair encoding that leaves merges out by chance (BPE-dropout, Provilkov et al. 2020): the same text becomes other
// tokens each time, which regularises training.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "tokenizer/models/merger.h"
#include "tokenizer/vocabulary/vocab.h"

namespace heddle {

class MergeDropout {
 public:
  // The chance of one text: at every step each pair that could merge is left out with `probability` (0: not active).
  void seed(double probability, uint64_t seed);
  bool active() const { return probability_ > 0; }

  // Merges the symbols in place and returns how many are left; O(n log n / (1 - probability)).
  size_t run(const MergeTable& merges, std::vector<Symbol>& symbols, const std::atomic<bool>* cancelled);

 private:
  bool drops();

  double probability_ = 0;
  uint64_t state_ = 0;
  std::vector<uint32_t> pair_rank_, pair_id_, next_, previous_;
  std::vector<uint64_t> heap_, left_out_;
};

}  // namespace heddle
