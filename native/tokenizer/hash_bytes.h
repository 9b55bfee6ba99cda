// The hash of the tables that are looked up by text.
#pragma once
#include <cstdint>
#include <cstring>
#include <string_view>

namespace heddle {

// Of this process: files cannot be made so that their texts meet in one slot.
extern const uint64_t hash_seed;

namespace hash_detail {
__extension__ using Product = unsigned __int128;

inline uint64_t fold(uint64_t a, uint64_t b) {
  const Product product = static_cast<Product>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

template <class T>
uint64_t load(const char* bytes) {
  T word;
  std::memcpy(&word, bytes, sizeof(T));
  return word;
}
}  // namespace hash_detail

// 64 bits that all depend on every byte: folded products, as in Wang Yi's wyhash.
inline uint64_t hash_bytes(std::string_view text) {
  using hash_detail::fold;
  using hash_detail::load;
  constexpr uint64_t k0 = 0xA0761D6478BD642FULL, k1 = 0xE7037ED1A0B428DBULL;
  const char* bytes = text.data();
  size_t length = text.size();
  uint64_t hash = hash_seed ^ length * k0;
  for (; length > 8; length -= 8, bytes += 8) hash = fold(hash ^ load<uint64_t>(bytes), k0);
  uint64_t last = 0;
  if (length >= 4) {
    last = load<uint32_t>(bytes) << 32 | load<uint32_t>(bytes + length - 4);
  } else if (length > 0) {
    last = load<uint8_t>(bytes) << 16 | load<uint8_t>(bytes + length / 2) << 8 | load<uint8_t>(bytes + length - 1);
  }
  return fold(hash ^ last, k1 ^ hash_seed);
}

}  // namespace heddle
