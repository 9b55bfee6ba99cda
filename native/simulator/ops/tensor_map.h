// The content of a CUtensorMap, which CUDA defines as 128 opaque bytes. The simulated cuTensorMapEncodeTiled writes it.
#pragma once
#include <cstdint>

namespace simulator {

struct TensorMap {
  static constexpr uint64_t expected_mark = 0x70616d20726f736e;  // "nsor map" in ASCII
  uint64_t mark, data;
  uint32_t rank, element_bytes;
  uint64_t sizes[5];
  uint64_t strides[5];  // in bytes; the first is the size of an element
  uint16_t boxes[5];
};
static_assert(sizeof(TensorMap) <= 128, "CUtensorMap has 128 bytes");

}  // namespace simulator
