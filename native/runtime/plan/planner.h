// Memory planning: assigns each intermediate value of a program its bytes in one arena. A pure function.
#pragma once
#include <cstddef>
#include <vector>

namespace heddle {

// A value that needs memory from its writer, node `first`, to its last reader, node `last`, inclusive.
struct Interval {
  size_t bytes;
  int first, last;
};

struct MemoryPlan {
  std::vector<size_t> offsets;  // per interval, multiples of 64
  size_t bytes = 0;             // size of the arena
};

// Greedy by size (Pisarchyk & Lee 2020, "Efficient Memory Management for Deep Neural Net Inference"). Places the values
// in order of size, the largest first. Each gets the lowest offset where it overlaps no value that lives at the same
// time. `guard` bytes are kept free after each value. Throws OUT_OF_MEMORY if the sum of the sizes could overflow.
MemoryPlan plan_memory(const std::vector<Interval>& intervals, size_t guard = 0);

}  // namespace heddle
