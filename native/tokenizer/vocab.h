// The vocabulary: bytes of each id, id of given bytes, and the merge that a pair of ids makes.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace heddle {

constexpr uint32_t no_token = UINT32_MAX;
constexpr uint32_t max_token_id = (1u << 22) - 1;  // four million: sixteen times the largest vocabulary in use

uint64_t hash_bytes(const char* bytes, size_t length);

class Vocab {
 public:
  // Gives `id` its bytes. `findable` tokens are what find() returns; of equal bytes the first wins.
  // Throws INVALID_FILE for an id above max_token_id.
  void add(uint32_t id, std::string_view bytes, bool findable);

  void reserve(size_t count);

  uint32_t find(std::string_view bytes) const;  // no_token if absent
  bool has(uint32_t id) const { return id < tokens_.size() && tokens_[id].present; }
  std::string_view bytes(uint32_t id) const {  // empty for an absent id
    if (id >= tokens_.size()) return {};
    return {arena_.data() + tokens_[id].begin, tokens_[id].length};
  }
  uint32_t size() const { return static_cast<uint32_t>(tokens_.size()); }  // highest id + 1

 private:
  struct Token {
    uint64_t begin = 0;
    uint32_t length = 0;
    bool present = false;
  };
  void resize_slots(size_t count);

  struct Slot {
    uint32_t hash = 0;  // what the slot's number leaves of it
    uint32_t id = no_token;
  };

  std::string arena_;
  std::vector<Token> tokens_;
  std::vector<Slot> slots_;  // open addressing; no_token where free
  uint32_t used_ = 0;
  size_t longest_ = 0;  // of the findable tokens
};

struct Merge {
  uint32_t rank;  // lower merges first; no_token (never a rank): no merge
  uint32_t id;    // of the merged token
};

class MergeTable {
 public:
  static constexpr uint32_t max_rank = (1u << 25) - 2;  // what the merge loop's packing leaves room for

  // A pair given twice keeps its later rank, as a map filled from the file in order would. Throws INVALID_FILE for ranks above
  // max_rank.
  void add(uint32_t left, uint32_t right, Merge merge);
  void reserve(size_t count);
  size_t size() const { return used_; }

  // Before merges are added: keeps those of two bytes in a table of their own as well.
  void index_bytes(const uint32_t* byte_ids);
  Merge find_bytes(uint8_t left, uint8_t right) const { return bytes_[static_cast<size_t>(left) << 8 | right]; }

  // Calls visit(left, right, merge) for each pair, in no order.
  template <class F>
  void for_each(F&& visit) const {
    for (const Entry& entry : entries_) {
      if (entry.key != free_key) visit(static_cast<uint32_t>(entry.key >> 32), static_cast<uint32_t>(entry.key), entry.merge);
    }
  }

  Merge find(uint32_t left, uint32_t right) const {
    const uint64_t key = static_cast<uint64_t>(left) << 32 | right;
    const uint64_t hash = hash_of(key);
    const size_t bit = hash >> shift_;
    if (!(present_[bit / 64] >> bit % 64 & 1)) return {no_token, no_token};  // most pairs of most texts
    for (size_t i = hash & mask_;; i = (i + 1) & mask_) {
      const Entry& entry = entries_[i];
      if (entry.key == key) return entry.merge;
      if (entry.key == free_key) return {no_token, no_token};
    }
  }

 private:
  static constexpr uint64_t free_key = UINT64_MAX;
  struct Entry {
    uint64_t key = free_key;
    Merge merge{no_token, no_token};
  };
  static uint64_t hash_of(uint64_t key) {
    key *= 0x9E3779B97F4A7C15ULL;
    return key ^ key >> 32;
  }
  void resize(size_t capacity);
  void mark(uint64_t hash) { present_[(hash >> shift_) / 64] |= uint64_t{1} << (hash >> shift_) % 64; }

  std::vector<Merge> bytes_;          // by left << 8 | right, if indexed
  std::vector<uint16_t> byte_of_id_;  // the byte, 256 of other ids
  std::vector<Entry> entries_ = std::vector<Entry>(16);
  size_t mask_ = 15;
  size_t used_ = 0;
  // A bit for each hash, eight times as many as entries: what is in the table has its bit set.
  std::vector<uint64_t> present_ = std::vector<uint64_t>(2);
  int shift_ = 64 - 7;
};

}  // namespace heddle
