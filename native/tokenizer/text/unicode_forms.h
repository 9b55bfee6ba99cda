// Decomposition, composition and lower case of code points.
#pragma once
#include <cstdint>

namespace heddle::unicode {

// Returns the index of the canonical combining class among all classes in their order. 0 for starters.
uint8_t combining_rank(uint32_t code);

// Writes the full decomposition of a code point, at most `decomposition_limit` code points. Returns 0 if it has none.
constexpr int decomposition_limit = 18;
int decompose(uint32_t code, bool compatible, uint32_t* out);

uint32_t compose(uint32_t first, uint32_t second);  // returns 0 if they do not compose

int lowercase(uint32_t code, uint32_t out[2]);  // returns the number of code points, 1 or 2

}  // namespace heddle::unicode
