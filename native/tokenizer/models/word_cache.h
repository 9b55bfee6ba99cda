// A cache that maps a short word to its ids: sets of two entries, each set in one cache line. It reserves 5 MiB. The
// frequent words of one language use about half a megabyte of it, which an L2 cache can spare. The rest holds rarer
// words, so that they are not merged again. Longer words (identifiers, Korean and Japanese phrases) have entries of one
// line each.
#pragma once
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "core/round.h"
#include "tokenizer/memory.h"

namespace heddle {

class WordCache {
 public:
  static constexpr size_t max_bytes = 16;
  static constexpr size_t inline_ids = 3;
  // Ids after inline_ids are in MoreIds. Words with more than max_ids are not cached.
  static constexpr size_t max_ids = 11;

  // The word's bytes, zero-padded.
  struct Key {
    uint64_t low, high;
  };
  struct Entry {
    Key key;
    uint32_t ids[inline_ids];
    uint8_t length;  // 0: free
    uint8_t count;
  };
  static_assert(sizeof(Entry) == 32);

  static constexpr size_t max_long_bytes = 32;
  static constexpr size_t max_long_ids = 7;
  struct LongEntry {
    Key low, high;
    uint32_t ids[max_long_ids];
    uint8_t length;  // 0: free
    uint8_t count;
  };
  static_assert(sizeof(LongEntry) == 64);

  // Returns the key of a word of 1 to max_bytes bytes. Requires that max_bytes bytes from `word` on are readable.
  static Key wide_key(const char* word, size_t length) {
    Key key;
#if defined(__SSE2__)
    static const uint8_t masks[32] = {255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255};
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(word));
    const __m128i mask = _mm_loadu_si128(reinterpret_cast<const __m128i*>(masks + max_bytes - length));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(&key), _mm_and_si128(bytes, mask));
#else
    std::memcpy(&key, word, max_bytes);
    // Masks bytes in memory order. Shifts would depend on endianness.
    static const uint64_t ones[4] = {UINT64_MAX, UINT64_MAX, 0, 0};
    Key mask;
    std::memcpy(&mask, reinterpret_cast<const char*>(ones) + max_bytes - length, max_bytes);
    key.low &= mask.low;
    key.high &= mask.high;
#endif
    return key;
  }
  // Like wide_key, but reads only the word's bytes, for words near the end of readable memory.
  static Key narrow_key(const char* word, size_t length) {
    Key key{0, 0};
    std::memcpy(&key, word, length);
    return key;
  }

  // Returns the word's entry, or null.
  const Entry* find(const Key& key, size_t length) const {
    const Entry* set = entries_.get() + set_of(key);
    if (matches(set[0], key, length)) return &set[0];
    return matches(set[1], key, length) ? &set[1] : nullptr;
  }

  struct MoreIds {
    uint32_t ids[max_ids - inline_ids];
  };
  // Returns an entry's ids after the inline ones.
  const MoreIds& more_ids(const Entry* entry) const { return more()[entry - entries_.get()]; }

  // Inserts a word at the front of its set, and evicts the last one.
  void add(const Key& key, size_t length, const uint32_t* ids, size_t count) {
    const size_t at = set_of(key);
    Entry* set = entries_.get() + at;
    if (set[0].count > inline_ids) more()[at + 1] = more()[at];
    set[1] = set[0];
    set[0].key = key;
    set[0].length = static_cast<uint8_t>(length);
    set[0].count = static_cast<uint8_t>(count);
    for (size_t i = 0; i < count && i < inline_ids; ++i) set[0].ids[i] = ids[i];
    for (size_t i = inline_ids; i < count; ++i) more()[at].ids[i - inline_ids] = ids[i];
  }

  // Finds a word of more than max_bytes bytes, up to max_long_bytes. add_long() overwrites the word in the entry.
  const LongEntry* find_long(const Key& low, const Key& high, size_t length) const {
    const LongEntry& entry = long_entries_.get()[place_of(low, high)];
    const bool equal = ((entry.low.low ^ low.low) | (entry.low.high ^ low.high) | (entry.high.low ^ high.low) |
                           (entry.high.high ^ high.high) | (entry.length ^ length)) == 0;
    return equal ? &entry : nullptr;
  }
  void add_long(const Key& low, const Key& high, size_t length, const uint32_t* ids, size_t count) {
    LongEntry& entry = long_entries_.get()[place_of(low, high)];
    entry.low = low;
    entry.high = high;
    entry.length = static_cast<uint8_t>(length);
    entry.count = static_cast<uint8_t>(count);
    for (size_t i = 0; i < count; ++i) entry.ids[i] = ids[i];
  }

 private:
  static constexpr int bits = 15;  // 2^15 sets of 64 bytes; the system commits only the pages that are used
  static size_t set_of(const Key& key) {
    const uint64_t hash = (key.low ^ key.high * 0x9E3779B97F4A7C15ULL) * 0xD6E8FEB86659FD93ULL;
    return 2 * (hash >> (64 - bits));
  }
  static bool matches(const Entry& entry, const Key& key, size_t length) {
    return ((entry.key.low ^ key.low) | (entry.key.high ^ key.high) | (entry.length ^ length)) == 0;
  }

  static constexpr int long_bits = 14;  // 2^14 entries of 64 bytes
  static size_t place_of(const Key& low, const Key& high) {
    const uint64_t folded = (high.low ^ high.high * 0x9E3779B97F4A7C15ULL) * 0xC2B2AE3D27D4EB4FULL;
    const uint64_t hash = (low.low ^ low.high * 0x9E3779B97F4A7C15ULL ^ folded ^ folded >> 32) * 0xD6E8FEB86659FD93ULL;
    return hash >> (64 - long_bits);
  }

  // Zeroed memory that the system commits page by page. Begins at a cache line.
  template <class T> class Lines {
   public:
    explicit Lines(size_t count)
        : memory_(take_zeros(count * sizeof(T) + line, false), Give{count * sizeof(T) + line}) {
      if (memory_ == nullptr) throw std::bad_alloc();
      first_ = reinterpret_cast<T*>(round_up(reinterpret_cast<uintptr_t>(memory_.get()), line));
    }
    T* get() const { return first_; }

   private:
    static constexpr size_t line = 64;
    struct Give {
      size_t size;
      void operator()(void* memory) const { give_zeros(memory, size, false); }
    };
    std::unique_ptr<void, Give> memory_;
    T* first_;
  };
  MoreIds* more() const { return more_.get(); }

  Lines<Entry> entries_{size_t{2} << bits};
  Lines<MoreIds> more_{size_t{2} << bits};
  Lines<LongEntry> long_entries_{size_t{1} << long_bits};
};

}  // namespace heddle
