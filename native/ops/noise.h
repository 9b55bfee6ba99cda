// The random numbers of the noise ops: Philox with the counter (position / 4, stream, step, micro-batch) and the key
// (seed, noise_key).
#pragma once
#include <cstdint>

#include "ops/op.h"

namespace heddle {

constexpr uint32_t noise_key = 0x6e6f6973;  // "nois"; separates noise from other uses of the seed

struct NoiseKey {
  uint32_t seed, step, micro, stream;
};

inline NoiseKey noise_key_of(const Node& n) {
  const int32_t* v = n.in[1].as<int32_t>();
  return {static_cast<uint32_t>(v[0]), static_cast<uint32_t>(v[1]), static_cast<uint32_t>(v[2]),
      static_cast<uint32_t>(n.attr_int("stream"))};
}

// Returns the threshold for a drop probability p: elements whose random word is below it are dropped.
inline uint32_t dropped_below(double p) { return static_cast<uint32_t>(p * 4294967296.0); }

}  // namespace heddle
