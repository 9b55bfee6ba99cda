#include "core/rank_sums.h"

#include <algorithm>
#include <cstdlib>

namespace heddle {

size_t least_batch_bytes(int ranks) {
  const char* set = std::getenv("HEDDLE_RANK_BATCH_BYTES");
  if (set && *set) return static_cast<size_t>(std::strtoull(set, nullptr, 10));
  return std::max(size_t{4} << 20, static_cast<size_t>(ranks) * (size_t{32} << 10));
}

}  // namespace heddle
