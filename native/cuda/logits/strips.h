// Sizes of strips: parts of a matrix that are in the scratch one after another. This header compiles without CUDA.
#pragma once
#include <cstdint>

namespace heddle {
namespace cuda {
namespace logits {

// Returns the width of a strip whose other side has `size` elements: the largest multiple of `step` with at most `most`
// elements in the strip, but at least `step`.
constexpr int64_t strip_width(int64_t most, int64_t size, int64_t step) {
  const int64_t fitting = most / (size > 0 ? size : 1) / step * step;
  return fitting > step ? fitting : step;
}
// Returns an upper bound of strip_width(most, s, step) * s for all sizes s up to `size`. A smaller size may have a
// larger strip, so the scratch for `size` has to hold this bound.
constexpr int64_t strip_bound(int64_t most, int64_t size, int64_t step) {
  return most > step * size ? most : step * size;
}

}  // namespace logits
}  // namespace cuda
}  // namespace heddle
