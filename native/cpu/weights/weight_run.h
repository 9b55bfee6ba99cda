// Converts a run of weights to another element type on the calling thread.
#pragma once
#include <cstdint>

#include "core/tensor.h"

namespace heddle {

struct CastFindings {
  int64_t overflows = 0;   // finite numbers that became infinite
  int64_t not_finite = 0;  // source values that are NaN or infinite

  void add(const CastFindings& more) { overflows += more.overflows, not_finite += more.not_finite; }
};

constexpr int64_t weight_run = 16384;  // elements: source and result fit into a core's L2

// Converts n elements (whole blocks of both types, at most weight_run) at `raw` to `out`, after adding `addend`.
// Gives the same bits and errors as cast_elements (element_cast.h). If the type does not change and `addend` is 0,
// elements keep their bits. `raw` and `out` may have any alignment.
CastFindings cast_run(const uint8_t* raw, DType from, uint8_t* out, DType to, float addend, int64_t n);

}  // namespace heddle
