// Reads a matrix of a file and reorders its rows, because kernels need another order. Examples are GGUF's q and k
// weights.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/mapping.h"

namespace heddle {

// Row r of each block of order.size() rows is row order[r] of that block in the file.
struct RowOrder {
  size_t row_bytes = 0;
  std::vector<int32_t> order;  // a permutation of [0, order.size()); empty: as in the file

  size_t block_bytes() const { return row_bytes * order.size(); }
  // Reads bytes [at, at + count) of the reordered matrix that begins at `offset` of the file. `block` is a buffer for
  // one block of rows, allocated if empty. Keep it between calls, because allocating costs more than reading.
  void read(const Mapping& file, size_t offset, size_t at, size_t count, unsigned char* into,
      std::vector<unsigned char>& block) const;
};

}  // namespace heddle
