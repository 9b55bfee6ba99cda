// The hash function of tables with text keys.
#pragma once
#include <cstdint>
#include <cstring>
#include <string_view>

#include "tokenizer/hash_secret.h"

namespace heddle {

namespace hash_detail {
template <class T> uint64_t load(const char* bytes) {
  T word;
  std::memcpy(&word, bytes, sizeof(T));
  return word;
}
}  // namespace hash_detail

// Returns a 64-bit hash in which every bit depends on every byte. Folds products, as in Wang Yi's wyhash. The
// multipliers depend on secrets of this process, so that files cannot be crafted to cause collisions.
inline uint64_t hash_bytes(std::string_view text) {
  using hash_detail::fold;
  using hash_detail::load;
  constexpr uint64_t k0 = 0xA0761D6478BD642FULL, k1 = 0xE7037ED1A0B428DBULL;
  const uint64_t seed = hash_secret.seed, multiplier = hash_secret.multiplier;
  const char* bytes = text.data();
  size_t length = text.size();
  uint64_t hash = seed ^ length * k0;
  for (; length > 8; length -= 8, bytes += 8) hash = fold(hash ^ load<uint64_t>(bytes), multiplier);
  uint64_t last = 0;
  if (length >= 4) {
    last = load<uint32_t>(bytes) << 32 | load<uint32_t>(bytes + length - 4);
  } else if (length > 0) {
    last = load<uint8_t>(bytes) << 16 | load<uint8_t>(bytes + length / 2) << 8 | load<uint8_t>(bytes + length - 1);
  }
  return fold(hash ^ last, k1 ^ seed);
}

}  // namespace heddle
