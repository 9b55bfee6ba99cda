// The vocabulary: the bytes of each id, the id of given bytes, and the merge of a pair of ids.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/hash_secret.h"
#include "tokenizer/memory.h"

namespace heddle {

constexpr uint32_t no_token = UINT32_MAX;
constexpr uint32_t max_token_id = (1u << 22) - 1;  // sixteen times the vocabulary of Gemma 3

// A slot of a hash table of tokens. It also stores some bits of the hash, which reject most colliding tokens before
// their bytes are compared.
class TokenSlot {
 public:
  static TokenSlot of(uint32_t token, uint64_t hash) { return TokenSlot(tag_of(hash) | (token + 1)); }
  bool is_free() const { return bits_ == 0; }
  bool may_be(uint64_t hash) const { return (bits_ & ~token_mask) == tag_of(hash); }
  uint32_t token() const { return (bits_ & token_mask) - 1; }

 private:
  static constexpr int token_bits = 23;
  static constexpr uint32_t token_mask = (1u << token_bits) - 1;
  static_assert(max_token_id < token_mask);
  explicit TokenSlot(uint32_t bits) : bits_(bits) {}
  // The highest bits of the hash. The lowest are the slot's index.
  static uint32_t tag_of(uint64_t hash) { return static_cast<uint32_t>(hash >> 32) & ~token_mask; }

  uint32_t bits_;  // 1 + the token, below a part of the hash; 0 if free
};

class Vocab {
 public:
  // Sets the bytes of `id`. find() returns only `findable` tokens, and the first one of equal bytes. Throws
  // INVALID_FILE for an id above max_token_id or added before, and beyond 2 GiB of text.
  void add(uint32_t id, std::string_view bytes, bool findable);

  // Adds `count` tokens at once, with overlapping table lookups. That is faster if the tables exceed the CPU's caches.
  struct NewToken {
    uint32_t id;
    bool findable;
    std::string_view bytes;
  };
  void add_all(const NewToken* tokens, size_t count);
  // Call before tokens are added. Tokens whose bytes lie in `texts` are not copied. `owner` keeps `texts` alive.
  void share(std::string_view texts, std::shared_ptr<const void> owner);
  // Reserves room for `count` tokens, of which find() returns `findable`, with `bytes` of text.
  void reserve(size_t count, size_t findable, size_t bytes);

  uint32_t find(std::string_view bytes) const;  // no_token if absent
  // Finds `count` texts at once.
  void find_all(const std::string_view* texts, uint32_t* ids, size_t count) const;
  static constexpr size_t max_at_once = 128;
  size_t longest() const { return longest_; }  // length of the longest token that find() returns

  // Whether find() returns this id for its bytes.
  bool is_findable(uint32_t id) const { return id < tokens_.size() && tokens_[id].found != 0; }
  bool has(uint32_t id) const { return id < tokens_.size() && tokens_[id].begin != absent; }
  std::string_view bytes(uint32_t id) const {  // empty for an absent id
    if (id >= tokens_.size()) return {};
    return bytes_of(tokens_[id]);
  }
  uint32_t size() const { return static_cast<uint32_t>(tokens_.size()); }  // highest id + 1

 private:
  static constexpr uint32_t absent = UINT32_MAX;
  struct Token {
    uint32_t begin = absent;  // offset in the concatenation of shared_ and arena_
    uint32_t length : 31;
    uint32_t found : 1;  // whether find() returns it
    Token() : length(0), found(0) {}
  };
  std::string_view bytes_of(Token token) const {
    const size_t begin = token.length != 0 ? token.begin : 0;
    return {begin < shared_.size() ? shared_.data() + begin : arena_.data() + (begin - shared_.size()), token.length};
  }
  uint32_t find(std::string_view bytes, uint64_t hash) const;
  void put(uint32_t id, std::string_view bytes);
  void make_findable(uint32_t id, std::string_view bytes, uint64_t hash);
  void reserve_slots(size_t count);

  std::string_view shared_;            // the texts of share()
  std::shared_ptr<const void> owner_;  // keeps shared_ alive
  std::string arena_;                  // copies of the other texts
  std::vector<Token> tokens_;
  std::unique_ptr<ZeroTable<TokenSlot>> slots_;  // open addressing; null while nothing is findable
  size_t mask_ = 0;
  uint32_t used_ = 0;
  size_t longest_ = 0;  // length of the longest findable token
};

struct Merge {
  uint32_t rank;  // the lowest rank merges first; no_token: no merge
  uint32_t id;    // the merged token
};

class TextMerges;

class MergeTable {
 public:
  MergeTable();
  ~MergeTable();
  static constexpr uint32_t max_rank = (1u << 25) - 2;  // the merge loop packs ranks into 25 bits

  // If a pair is added twice, its later rank is kept, as in a map that is filled in the order of the file. Throws
  // INVALID_FILE for ranks above max_rank.
  void add(uint32_t left, uint32_t right, Merge merge);
  void reserve(size_t count);
  // Prefetches the memory of a pair that will be added or looked up soon.
  void prefetch(uint32_t left, uint32_t right) const {
    const uint64_t hash = hash_(key_of(left, right));
    __builtin_prefetch(&entries_[hash & mask_], 1);
    __builtin_prefetch(&present_[(hash >> shift_) / 64], 1);
  }
  size_t size() const { return used_; }

  // Makes add() store merges of two bytes in a separate table as well. byte_ids[b] is the id of byte b. Call it before
  // merges are added.
  void index_bytes(const uint32_t* byte_ids);
  // Stores a merge only in the table of index_bytes(), and only if it is of two bytes.
  void add_bytes(uint32_t left, uint32_t right, Merge merge);
  Merge find_bytes(uint8_t left, uint8_t right) const { return bytes_[static_cast<size_t>(left) << 8 | right]; }

  // Calls visit(left, right, merge) for each pair, in no particular order.
  template <class F> void for_each(F&& visit) const {
    for (size_t i = 0; i <= mask_; ++i) {
      const Entry& entry = entries_[i];
      if (entry.key != free_key)
        visit(static_cast<uint32_t>((entry.key - 1) >> 32), static_cast<uint32_t>(entry.key - 1), entry.merge);
    }
  }

  // Looks merges up in `by_text` instead. No merges may be added after that.
  void use(std::unique_ptr<const TextMerges> by_text);
  bool is_by_text() const { return by_text_ != nullptr; }

  Merge find(uint32_t left, uint32_t right) const {
    const uint64_t key = key_of(left, right);
    const uint64_t hash = hash_(key);
    const size_t bit = hash >> shift_;
    if (!(present_[bit / 64] >> bit % 64 & 1)) return {no_token, no_token};  // rejects most pairs of most texts
    for (size_t i = hash & mask_;; i = (i + 1) & mask_) {
      const Entry& entry = entries_[i];
      if (entry.key == key) return entry.merge;
      if (entry.key == free_key) return find_by_text(left, right);
    }
  }

 private:
  static constexpr uint64_t free_key = 0;
  struct Entry {
    uint64_t key;
    Merge merge;
  };
  static uint64_t key_of(uint32_t left, uint32_t right) { return (static_cast<uint64_t>(left) << 32 | right) + 1; }
  void resize(size_t capacity);
  Merge find_by_text(uint32_t left, uint32_t right) const;  // of pairs that are not in the table
  void mark(uint64_t hash) { present_[(hash >> shift_) / 64] |= uint64_t{1} << (hash >> shift_) % 64; }

  NumberHash hash_;
  std::vector<Merge> bytes_;          // by left << 8 | right, if indexed
  std::vector<uint16_t> byte_of_id_;  // the byte of an id; 256 for other ids
  ZeroTable<Entry> entries_{16};
  size_t mask_ = 15;
  size_t used_ = 0;
  // A Bloom filter with eight bits per entry. A pair in the table has its bit set.
  ZeroTable<uint64_t> present_{2};
  int shift_ = 64 - 7;
  std::unique_ptr<const TextMerges> by_text_;
};

}  // namespace heddle
