// Numbers that a file cannot have been made for: drawn from the system once a process.
#pragma once
#include <cstdint>

namespace heddle {

struct HashSecret {
  uint64_t seed;                        // of texts
  uint64_t multiplier;                  // of texts; odd, as the next
  uint64_t pair_seed, pair_multiplier;  // of numbers
  uint64_t digest[2];                   // key of digests
};
extern const HashSecret hash_secret;

namespace hash_detail {
__extension__ using Product = unsigned __int128;

inline uint64_t fold(uint64_t a, uint64_t b) {
  const Product product = static_cast<Product>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}
}  // namespace hash_detail

// The hash of tables with integer keys. Collisions depend on a secret of this process. A copy of the secret is stored
// with the table, so that both are read together.
class NumberHash {
 public:
  uint64_t operator()(uint64_t number) const { return hash_detail::fold(number ^ seed_, multiplier_); }

 private:
  uint64_t seed_ = hash_secret.pair_seed, multiplier_ = hash_secret.pair_multiplier;
};

}  // namespace heddle
