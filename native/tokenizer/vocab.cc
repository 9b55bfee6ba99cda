#include "tokenizer/vocab.h"

#include <cstring>

#include "runtime/error.h"

namespace heddle {

uint64_t hash_bytes(const char* bytes, size_t length) {
  constexpr uint64_t multiplier = 0x9E3779B97F4A7C15ULL;
  uint64_t hash = length * multiplier;
  while (length >= 8) {
    uint64_t word;
    std::memcpy(&word, bytes, 8);
    hash = (hash ^ word) * multiplier;
    hash ^= hash >> 29;
    bytes += 8;
    length -= 8;
  }
  uint64_t word = 0;
  std::memcpy(&word, bytes, length);
  hash = (hash ^ word) * multiplier;
  return hash ^ hash >> 32;
}

void Vocab::add(uint32_t id, std::string_view bytes, bool findable) {
  if (id > max_token_id) {
    throw invalid_file("vocab: expected ids up to " + std::to_string(max_token_id) + ", got " + std::to_string(id));
  }
  if (id >= tokens_.size()) tokens_.resize(id + 1);
  tokens_[id] = {arena_.size(), static_cast<uint32_t>(bytes.size()), true};
  arena_.append(bytes);
  if (!findable) return;
  if (2 * (used_ + 1) > slots_.size()) grow();
  const size_t mask = slots_.size() - 1;
  size_t slot = hash_bytes(bytes.data(), bytes.size()) & mask;
  for (; slots_[slot] != no_token; slot = (slot + 1) & mask) {
    if (this->bytes(slots_[slot]) == bytes) return;
  }
  slots_[slot] = id;
  ++used_;
}

uint32_t Vocab::find(std::string_view bytes) const {
  if (slots_.empty()) return no_token;
  const size_t mask = slots_.size() - 1;
  for (size_t slot = hash_bytes(bytes.data(), bytes.size()) & mask; slots_[slot] != no_token; slot = (slot + 1) & mask) {
    if (this->bytes(slots_[slot]) == bytes) return slots_[slot];
  }
  return no_token;
}

void Vocab::grow() {
  std::vector<uint32_t> old(slots_.empty() ? 1024 : 2 * slots_.size(), no_token);
  old.swap(slots_);
  const size_t mask = slots_.size() - 1;
  for (const uint32_t id : old) {
    if (id == no_token) continue;
    const std::string_view text = bytes(id);
    size_t slot = hash_bytes(text.data(), text.size()) & mask;
    while (slots_[slot] != no_token) slot = (slot + 1) & mask;
    slots_[slot] = id;
  }
}

void MergeTable::reserve(size_t count) {
  size_t capacity = entries_.size();
  while (capacity < 2 * count) capacity *= 2;
  if (capacity != entries_.size()) resize(capacity);
}

void MergeTable::add(uint32_t left, uint32_t right, Merge merge) {
  if (2 * (used_ + 1) > entries_.size()) resize(2 * entries_.size());
  const uint64_t key = static_cast<uint64_t>(left) << 32 | right;
  size_t i = slot_of(key);
  while (entries_[i].key != free_key && entries_[i].key != key) i = (i + 1) & mask_;
  if (entries_[i].key == free_key) ++used_;
  entries_[i] = {key, merge};
}

void MergeTable::resize(size_t capacity) {
  std::vector<Entry> old(capacity);
  old.swap(entries_);
  mask_ = capacity - 1;
  for (const Entry& entry : old) {
    if (entry.key == free_key) continue;
    size_t i = slot_of(entry.key);
    while (entries_[i].key != free_key) i = (i + 1) & mask_;
    entries_[i] = entry;
  }
}

}  // namespace heddle
