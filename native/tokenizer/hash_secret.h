// Random numbers that are drawn once per process, so that files cannot be crafted to cause hash collisions.
#pragma once
#include <cstdint>

namespace heddle {

struct HashSecret {
  uint64_t seed;                        // for texts
  uint64_t multiplier;                  // for texts; odd, like pair_multiplier
  uint64_t pair_seed, pair_multiplier;  // for numbers
  uint64_t digest[2];                   // key of digests
};
extern const HashSecret hash_secret;

namespace hash_detail {
__extension__ using Product = unsigned __int128;

// Returns the XOR of both halves of the 128-bit product (the mix function of Wang Yi's wyhash).
inline uint64_t fold(uint64_t a, uint64_t b) {
  const Product product = static_cast<Product>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}
}  // namespace hash_detail

// The hash function of tables with integer keys. It depends on a secret of this process. Each table
// stores a copy of the secret, so that a lookup reads the secret and the table's fields together.
class NumberHash {
 public:
  uint64_t operator()(uint64_t number) const { return hash_detail::fold(number ^ seed_, multiplier_); }

 private:
  uint64_t seed_ = hash_secret.pair_seed, multiplier_ = hash_secret.pair_multiplier;
};

}  // namespace heddle
