#include "tokenizer/vocabulary/vocab.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "core/error.h"
#include "tokenizer/hash_bytes.h"
#include "tokenizer/vocabulary/text_merges.h"

namespace heddle {
namespace {

constexpr size_t max_text = size_t{1} << 31;

}  // namespace

void Vocab::add(uint32_t id, std::string_view bytes, bool findable) {
  put(id, bytes);
  if (findable) make_findable(id, bytes, hash_bytes(bytes));
}

void Vocab::add_all(const NewToken* tokens, size_t count) {
  uint64_t hashes[max_at_once];
  for (; count > 0;) {
    const size_t some = std::min(count, max_at_once);
    reserve_slots(used_ + some);
    for (size_t i = 0; i < some; ++i) {
      hashes[i] = hash_bytes(tokens[i].bytes);
      __builtin_prefetch(&(*slots_)[hashes[i] & mask_], 1);
    }
    for (size_t i = 0; i < some; ++i) {
      put(tokens[i].id, tokens[i].bytes);
      if (tokens[i].findable) make_findable(tokens[i].id, tokens[i].bytes, hashes[i]);
    }
    tokens += some, count -= some;
  }
}

void Vocab::put(uint32_t id, std::string_view bytes) {
  if (id > max_token_id) {
    throw invalid_file("vocab: expected ids up to " + std::to_string(max_token_id) + ", got " + std::to_string(id));
  }
  // An id has only one text, which find() compares with and which decoding returns.
  if (has(id)) throw invalid_file("vocab: expected one token per id, got two of id " + std::to_string(id));
  const size_t used = shared_.size() + arena_.size();
  if (used >= max_text || bytes.size() >= max_text - used)
    throw invalid_file("vocab: expected less than 2 GiB of text");
  if (id >= tokens_.size()) tokens_.resize(id + 1);
  Token& token = tokens_[id];
  const bool is_shared = !std::less<>()(bytes.data(), shared_.data()) &&
                         !std::less<>()(shared_.data() + shared_.size(), bytes.data() + bytes.size());
  token.begin = static_cast<uint32_t>(is_shared ? static_cast<size_t>(bytes.data() - shared_.data()) : used);
  token.length = static_cast<uint32_t>(bytes.size()) & 0x7FFFFFFF;
  if (!is_shared) arena_.append(bytes);
}

void Vocab::make_findable(uint32_t id, std::string_view bytes, uint64_t hash) {
  reserve_slots(used_ + 1);
  ZeroTable<TokenSlot>& slots = *slots_;
  size_t slot = hash & mask_;
  for (; !slots[slot].is_free(); slot = (slot + 1) & mask_) {
    if (slots[slot].may_be(hash) && bytes_of(tokens_[slots[slot].token()]) == bytes) return;
  }
  slots[slot] = TokenSlot::of(id, hash);
  tokens_[id].found = 1;
  ++used_;
  longest_ = std::max(longest_, bytes.size());
}

uint32_t Vocab::find(std::string_view bytes) const {
  if (slots_ == nullptr || bytes.size() > longest_) return no_token;
  return find(bytes, hash_bytes(bytes));
}

inline uint32_t Vocab::find(std::string_view bytes, uint64_t hash) const {
  const ZeroTable<TokenSlot>& slots = *slots_;
  for (size_t slot = hash & mask_; !slots[slot].is_free(); slot = (slot + 1) & mask_) {
    if (slots[slot].may_be(hash) && bytes_of(tokens_[slots[slot].token()]) == bytes) return slots[slot].token();
  }
  return no_token;
}

void Vocab::find_all(const std::string_view* texts, uint32_t* ids, size_t count) const {
  if (slots_ == nullptr) {
    std::fill_n(ids, count, no_token);
    return;
  }
  const ZeroTable<TokenSlot>& slots = *slots_;
  uint64_t hashes[max_at_once];
  for (; count > 0;) {
    const size_t some = std::min(count, max_at_once);
    for (size_t i = 0; i < some; ++i) {
      hashes[i] = hash_bytes(texts[i]);
      __builtin_prefetch(&slots[hashes[i] & mask_]);
    }
    // Most texts are in the first slot that they probe. For the others these prefetches are wasted.
    for (size_t i = 0; i < some; ++i) {
      const TokenSlot slot = slots[hashes[i] & mask_];
      if (!slot.is_free()) __builtin_prefetch(&tokens_[slot.token()]);
    }
    for (size_t i = 0; i < some; ++i) {
      const TokenSlot slot = slots[hashes[i] & mask_];
      if (!slot.is_free()) __builtin_prefetch(bytes_of(tokens_[slot.token()]).data());
    }
    for (size_t i = 0; i < some; ++i) ids[i] = find(texts[i], hashes[i]);
    texts += some, ids += some, count -= some;
  }
}

void Vocab::share(std::string_view texts, std::shared_ptr<const void> owner) {
  if (texts.size() >= max_text) throw invalid_file("vocab: expected less than 2 GiB of text");
  shared_ = texts;
  owner_ = std::move(owner);
}

void Vocab::reserve(size_t count, size_t findable, size_t bytes) {
  reserve_slots(findable);
  tokens_.reserve(std::min<size_t>(count, max_token_id));
  arena_.reserve(bytes);
}

void Vocab::reserve_slots(size_t count) {
  const size_t before = slots_ == nullptr ? 0 : mask_ + 1;
  size_t capacity = std::max<size_t>(1024, before);
  while (capacity < 2 * count) capacity *= 2;
  if (capacity == before) return;
  auto made = std::make_unique<ZeroTable<TokenSlot>>(capacity);
  mask_ = capacity - 1;
  for (size_t k = 0; k < before; ++k) {
    const TokenSlot moved = (*slots_)[k];
    if (moved.is_free()) continue;
    size_t slot = hash_bytes(bytes(moved.token())) & mask_;
    while (!(*made)[slot].is_free()) slot = (slot + 1) & mask_;
    (*made)[slot] = moved;
  }
  slots_ = std::move(made);
}

MergeTable::MergeTable() = default;
MergeTable::~MergeTable() = default;

void MergeTable::use(std::unique_ptr<const TextMerges> by_text) {
  by_text_ = std::move(by_text);
  // Setting all bits of the filter sends every pair to find_by_text(), because the table is empty.
  for (size_t i = 0; i < 8 * (mask_ + 1) / 64; ++i) present_[i] = UINT64_MAX;
}

Merge MergeTable::find_by_text(uint32_t left, uint32_t right) const {
  return by_text_ == nullptr ? Merge{no_token, no_token} : by_text_->find(left, right);
}

void MergeTable::index_bytes(const uint32_t* byte_ids) {
  bytes_.assign(256 * 256, {no_token, no_token});
  for (uint32_t byte = 0; byte < 256; ++byte) {
    if (byte_ids[byte] >= byte_of_id_.size()) byte_of_id_.resize(byte_ids[byte] + 1, 256);
    byte_of_id_[byte_ids[byte]] = static_cast<uint16_t>(byte);
  }
}

void MergeTable::reserve(size_t count) {
  size_t capacity = mask_ + 1;
  while (2 * capacity < 3 * count) capacity *= 2;
  if (capacity != mask_ + 1) resize(capacity);
}

void MergeTable::add(uint32_t left, uint32_t right, Merge merge) {
  if (merge.rank > max_rank) {
    throw invalid_file(
        "merges: expected ranks up to " + std::to_string(max_rank) + ", got " + std::to_string(merge.rank));
  }
  if (3 * (used_ + 1) > 2 * (mask_ + 1)) resize(2 * (mask_ + 1));
  const uint64_t key = key_of(left, right);
  const uint64_t hash = hash_(key);
  size_t i = hash & mask_;
  while (entries_[i].key != free_key && entries_[i].key != key) i = (i + 1) & mask_;
  if (entries_[i].key == free_key) ++used_;
  mark(hash);
  entries_[i] = {key, merge};
  add_bytes(left, right, merge);
}

void MergeTable::add_bytes(uint32_t left, uint32_t right, Merge merge) {
  if (left >= byte_of_id_.size() || right >= byte_of_id_.size()) return;
  const size_t pair = static_cast<size_t>(byte_of_id_[left]) << 8 | byte_of_id_[right];
  if (byte_of_id_[left] < 256 && byte_of_id_[right] < 256) bytes_[pair] = merge;
}

void MergeTable::resize(size_t capacity) {
  ZeroTable<Entry> old(capacity);
  std::swap(old, entries_);
  const size_t last = mask_;
  mask_ = capacity - 1;
  shift_ = 64 - 3;  // for the filter present_, which has 8 bits per slot
  for (size_t i = 1; i < capacity; i *= 2) --shift_;
  present_ = ZeroTable<uint64_t>(8 * capacity / 64);
  for (size_t k = 0; k <= last; ++k) {
    const Entry& entry = old[k];
    if (entry.key == free_key) continue;
    const uint64_t hash = hash_(entry.key);
    mark(hash);
    size_t i = hash & mask_;
    while (entries_[i].key != free_key) i = (i + 1) & mask_;
    entries_[i] = entry;
  }
}

}  // namespace heddle
