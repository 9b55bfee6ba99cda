// A file's matrix with rows in a different order than kernels need: GGUF's rows of q and k.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/mapping.h"

namespace heddle {

// Row r of each block of order.size() rows is the file's row order[r] of that block.
struct RowOrder {
  size_t row_bytes = 0;
  std::vector<int32_t> order;  // of [0, order.size()); empty: as the file has them

  size_t block_bytes() const { return row_bytes * order.size(); }
  // Bytes [at, at + count) of the matrix that begins at `offset` of the file, in order. `block` is room for a block of
  // rows, made if it is empty: kept from one call to the next, because new memory costs more than what is read into it.
  void read(const Mapping& file, size_t offset, size_t at, size_t count, unsigned char* into,
      std::vector<unsigned char>& block) const;
};

}  // namespace heddle
