// The random number generator Philox4x32-10 (Salmon, Moraes, Dror & Shaw 2011, "Parallel Random Numbers: As Easy as 1,
// 2, 3"). It returns the same words as native/ops/philox.h.
#pragma once
#include "cuda/runtime/launch.cuh"

namespace heddle {
namespace cuda {

// Replaces the four words of `counter` with four random words. The constants are those of the paper.
__device__ inline void philox4x32_10(uint32_t counter[4], uint32_t k0, uint32_t k1) {
  for (int round = 0; round < 10; ++round) {
    const uint32_t a_low = 0xD2511F53u * counter[0], a_high = __umulhi(0xD2511F53u, counter[0]);
    const uint32_t b_low = 0xCD9E8D57u * counter[2], b_high = __umulhi(0xCD9E8D57u, counter[2]);
    counter[0] = b_high ^ counter[1] ^ k0;
    counter[1] = b_low;
    counter[2] = a_high ^ counter[3] ^ k1;
    counter[3] = a_low;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
}

// Returns a number that is uniform in [0, 1), with 53 random bits.
__device__ inline double philox_uniform(uint32_t seed_low, uint32_t seed_high, uint32_t counter) {
  uint32_t word[4] = {counter, 0, 0, 0};
  philox4x32_10(word, seed_low, seed_high);
  const uint64_t bits = (static_cast<uint64_t>(word[1]) << 32 | word[0]) >> 11;
  return static_cast<double>(bits) * 1.1102230246251565e-16;  // 2^-53
}

}  // namespace cuda
}  // namespace heddle
