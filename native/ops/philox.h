// Philox4x32-10: a counter-based random generator (Salmon, Moraes, Dror & Shaw, "Parallel random numbers: as easy as
// 1, 2, 3", 2011). The same key and counter give the same words on every machine, in any order.
#pragma once
#include <array>
#include <cstdint>

namespace heddle {

inline std::array<uint32_t, 4> philox4x32_10(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53} * counter[0], b = uint64_t{0xCD9E8D57} * counter[2];
    counter = {static_cast<uint32_t>(b >> 32) ^ counter[1] ^ key[0], static_cast<uint32_t>(b),
        static_cast<uint32_t>(a >> 32) ^ counter[3] ^ key[1], static_cast<uint32_t>(a)};
    key[0] += 0x9E3779B9;
    key[1] += 0xBB67AE85;
  }
  return counter;
}

// Returns a uniform number in [0, 1) with 53 random bits.
inline double philox_uniform(uint32_t seed_low, uint32_t seed_high, uint32_t counter) {
  const auto word = philox4x32_10({counter, 0, 0, 0}, {seed_low, seed_high});
  const uint64_t bits = (static_cast<uint64_t>(word[1]) << 32 | word[0]) >> 11;
  return static_cast<double>(bits) * 0x1p-53;
}

}  // namespace heddle
