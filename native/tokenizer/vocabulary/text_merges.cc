#include "tokenizer/vocabulary/text_merges.h"

#include <cstring>
#include <string>

namespace heddle {

Merge TextMerges::find(uint32_t left, uint32_t right) const {
  const std::string_view before = vocab_.bytes(left), after = vocab_.bytes(right);
  const size_t size = before.size() + after.size();
  if (before.empty() || after.empty() || size > vocab_.longest()) return {no_token, no_token};
  char few[64];
  std::string many;
  if (size > sizeof(few)) many.resize(size);
  char* const text = size > sizeof(few) ? many.data() : few;
  std::memcpy(text, before.data(), before.size());
  std::memcpy(text + before.size(), after.data(), after.size());
  const uint32_t made = vocab_.find({text, size});
  if (made == no_token) return {no_token, no_token};
  const uint32_t rank = rank_of(left, right, made);
  return {rank, rank == no_token ? no_token : made};
}

uint32_t TextMerges::rank_of(uint32_t left, uint32_t right, uint32_t made) const {
  if (!ranks_.empty()) {
    const auto of = [&](uint32_t id) { return id < ranks_.size() ? ranks_[id] : no_token; };
    return of(left) == no_token || of(right) == no_token ? no_token : of(made);
  }
  // Merges are stored without `right`, so `right` must be the token that find() returns for its bytes.
  if (!vocab_.is_findable(right) || made >= last_.size()) return no_token;
  for (uint32_t rank = last_[made]; rank != none; rank = merges_[2 * size_t{rank} + 1]) {
    if (merges_[2 * size_t{rank}] == left) return rank;
  }
  return no_token;
}

}  // namespace heddle
