// Decomposition, composition and lower case of code points.
#pragma once
#include <cstdint>

namespace heddle::unicode {

// Position of the canonical combining class among all classes, in their order; 0 for starters.
uint8_t combining_rank(uint32_t code);

// The full decomposition of a code point: up to `decomposition_limit` code points. 0 if it is its own.
constexpr int decomposition_limit = 18;
int decompose(uint32_t code, bool compatible, uint32_t* out);

uint32_t compose(uint32_t first, uint32_t second);  // 0 if they do not

int lowercase(uint32_t code, uint32_t out[2]);  // how many: 1 or 2

}  // namespace heddle::unicode
