#include "simulator/ops/tensor_map.h"

#include "simulator/machine/machine.h"
#include "simulator/machine/memory.h"

namespace simulator {

const TensorMap& tensor_map(const Warp& w, const Instruction& i, uint64_t address, int rank) {
  if (address % 64) w.fail(i, "a tensor map must be aligned to 64 bytes");
  memory::check(w, i, address, 128);
  const auto* map = reinterpret_cast<const TensorMap*>(address);
  if (map->mark != TensorMap::expected_mark) w.fail(i, "expected a tensor map that cuTensorMapEncodeTiled has written");
  if (rank != static_cast<int>(map->rank)) w.fail(i, "expected as many coordinates as the tensor map has dimensions");
  return *map;
}

void check_box_address(const Warp& w, const Instruction& i, uint32_t address) {
  if (address % 128) w.fail(i, "the shared address must be a multiple of 128");
  // The pattern of the swizzle repeats every 1024 bytes.
  if (address % 1024) w.fail(i, "a box with the 128-byte swizzle that is not aligned to 1024 bytes is not modeled");
}

}  // namespace simulator
