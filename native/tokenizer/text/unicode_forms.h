// Decomposition, composition and lower case of code points.
#pragma once
#include <cstdint>

namespace heddle::unicode {

// Returns the rank of the code point's canonical combining class among all classes, in ascending order. 0 for starters.
uint8_t combining_rank(uint32_t code);

// Writes the full canonical decomposition of a code point, or with `compatible` the compatibility decomposition.
// Returns the number of code points, at most `decomposition_limit`, or 0 if there is no decomposition.
constexpr int decomposition_limit = 18;
int decompose(uint32_t code, bool compatible, uint32_t* out);

uint32_t compose(uint32_t first, uint32_t second);  // returns 0 if they do not compose

int lowercase(uint32_t code, uint32_t out[2]);  // returns the number of code points, 1 or 2

}  // namespace heddle::unicode
