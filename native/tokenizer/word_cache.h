// A small direct-mapped cache from a short word to its ids, sized to stay in the L2 cache.
#pragma once
#include <cstdint>
#include <cstring>
#include <memory>

namespace heddle {

class WordCache {
 public:
  static constexpr size_t max_bytes = 16;
  static constexpr size_t max_ids = 3;

  struct Entry {
    uint64_t low, high;  // the word's bytes, zero-padded
    uint8_t length;      // 0: free
    uint8_t count;
    uint32_t ids[max_ids];
  };
  static_assert(sizeof(Entry) == 32);

  // The slot of a word of 1 to max_bytes bytes; it holds the word iff matches(). `end` is where the readable text ends.
  struct Key {
    uint64_t low, high;
    uint8_t length;
  };
  static Key key_of(const char* word, size_t length) {
    Key key{0, 0, static_cast<uint8_t>(length)};
    std::memcpy(&key.low, word, length < 8 ? length : 8);
    if (length > 8) std::memcpy(&key.high, word + 8, length - 8);
    return key;
  }
  Entry& slot(const Key& key) {
    uint64_t hash = (key.low ^ key.high * 0x9E3779B97F4A7C15ULL) * 0xD6E8FEB86659FD93ULL;
    hash ^= hash >> 32;
    return entries_[(hash + key.length) & (size - 1)];
  }
  static bool matches(const Entry& entry, const Key& key) {
    return entry.low == key.low && entry.high == key.high && entry.length == key.length;
  }

 private:
  static constexpr size_t size = 1 << 14;
  std::unique_ptr<Entry[]> entries_{new Entry[size]()};
};

}  // namespace heddle
