// A small cache from a short word to its ids: sets of two entries, each set a cache line. Words of one language live in its
// first half megabyte, about what an L2 cache has to spare; the rest catches rarer ones before they are merged anew.
#pragma once
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace heddle {

class WordCache {
 public:
  static constexpr size_t max_bytes = 16;
  static constexpr size_t max_ids = 3;

  // The word's bytes, zero-padded.
  struct Key {
    uint64_t low, high;
  };
  struct Entry {
    Key key;
    uint32_t ids[max_ids];
    uint8_t length;  // 0: free
    uint8_t count;
  };
  static_assert(sizeof(Entry) == 32);

  // Key of a word of 1 to max_bytes bytes that has max_bytes readable ones.
  static Key wide_key(const char* word, size_t length) {
    Key key;
#if defined(__SSE2__)
    static const uint8_t masks[32] = {255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255};
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(word));
    const __m128i mask = _mm_loadu_si128(reinterpret_cast<const __m128i*>(masks + max_bytes - length));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(&key), _mm_and_si128(bytes, mask));
#else
    std::memcpy(&key, word, max_bytes);
    // Of the bytes as they lie in memory: shifts would need to know their order.
    static const uint64_t ones[4] = {UINT64_MAX, UINT64_MAX, 0, 0};
    Key mask;
    std::memcpy(&mask, reinterpret_cast<const char*>(ones) + max_bytes - length, max_bytes);
    key.low &= mask.low;
    key.high &= mask.high;
#endif
    return key;
  }
  // The same of one at the end of its text.
  static Key narrow_key(const char* word, size_t length) {
    Key key{0, 0};
    std::memcpy(&key, word, length);
    return key;
  }

  // The word's entry, or null.
  const Entry* find(const Key& key, size_t length) const {
    const Entry* set = &entries_[set_of(key)];
    if (matches(set[0], key, length)) return &set[0];
    return matches(set[1], key, length) ? &set[1] : nullptr;
  }

  // Puts a word in front of its set; the last of the set goes.
  void add(const Key& key, size_t length, const uint32_t* ids, size_t count) {
    Entry* set = &entries_[set_of(key)];
    set[1] = set[0];
    set[0].key = key;
    set[0].length = static_cast<uint8_t>(length);
    set[0].count = static_cast<uint8_t>(count);
    for (size_t i = 0; i < count; ++i) set[0].ids[i] = ids[i];
  }

 private:
  static constexpr int bits = 15;  // of sets: 2 MiB, of which the system gives only what is used
  static size_t set_of(const Key& key) {
    const uint64_t hash = (key.low ^ key.high * 0x9E3779B97F4A7C15ULL) * 0xD6E8FEB86659FD93ULL;
    return 2 * (hash >> (64 - bits));
  }
  static bool matches(const Entry& entry, const Key& key, size_t length) {
    return ((entry.key.low ^ key.low) | (entry.key.high ^ key.high) | (entry.length ^ length)) == 0;
  }

  // Zeros that the system hands out page by page, from a line's beginning on.
  struct Free {
    void operator()(void* memory) const { std::free(memory); }
  };
  static constexpr size_t line = 64;
  static constexpr size_t bytes = sizeof(Entry) * 2 << bits;
  static void* allocate() {
    void* memory = std::calloc(1, bytes + line);
    if (memory == nullptr) throw std::bad_alloc();
    return memory;
  }
  std::unique_ptr<void, Free> memory_{allocate()};
  Entry* entries_ = reinterpret_cast<Entry*>((reinterpret_cast<uintptr_t>(memory_.get()) + line - 1) & ~uintptr_t{line - 1});
};

}  // namespace heddle
