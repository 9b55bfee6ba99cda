// Stored weights in another element type, by the threads of a lane's pool: what files and arrays are converted with.
#pragma once
#include <cstdint>

#include "runtime/mapping.h"
#include "runtime/pool.h"
#include "runtime/tensor.h"

namespace heddle {

struct WeightCast {
  DType from, to;
  int64_t count;         // elements: whole blocks of both types
  float addend = 0;      // added before rounding
  const Mapping* file = nullptr;  // the source's bytes from `offset` on, or, where it is null, those at `bytes`
  size_t offset = 0;
  const uint8_t* bytes = nullptr;
  uint8_t* out = nullptr;
};

struct CastFindings {
  int64_t overflows = 0;   // finite numbers that became infinite
  int64_t not_finite = 0;  // numbers of the source that are none, or infinite
};

// As cast_elements (runtime/element_cast.h) does it, to the bit, which throws the same errors; and IO where a file has become shorter. A thread
// reads and converts 16,384 elements at a time, in memory of its own: nothing but `out` grows with the weights.
CastFindings cast_weights(const WeightCast& cast, Pool& pool);

}  // namespace heddle
