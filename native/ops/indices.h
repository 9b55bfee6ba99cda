// Index operands come from callers. Kernels and references validate them here before use, with the same messages.
#pragma once
#include <string>

#include "ops/op.h"

namespace heddle {

// Throws INVALID_ARGUMENT "embedding: id 70000 at row 3 is outside [0, 50257)" unless every element of `ids` (i32)
// is in [0, limit). The row is the index along the first axis. With `negative_means_ignored`, elements below zero pass.
inline void check_indices(
    const char* op, const char* noun, const Tensor& ids, int64_t limit, bool negative_means_ignored = false) {
  const int32_t* id = ids.as<int32_t>();
  for (int64_t i = 0, n = ids.shape.size(); i < n; ++i) {
    if (id[i] < limit && (id[i] >= 0 || negative_means_ignored)) continue;
    const int64_t row = i / (n / ids.shape[0]);
    throw invalid_argument(std::string(op) + ": " + noun + " " + std::to_string(id[i]) + " at row " +
                           std::to_string(row) + " is outside [0, " + std::to_string(limit) + ")");
  }
}

}  // namespace heddle
