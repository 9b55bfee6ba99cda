// The content of a CUtensorMap, which CUDA defines as 128 opaque bytes, and the elements of its boxes. The simulated
// cuTensorMapEncodeTiled writes it.
#pragma once
#include <cstdint>

namespace simulator {

struct Warp;
struct Instruction;

struct TensorMap {
  static constexpr uint64_t expected_mark = 0x70616d20726f736e;  // "nsor map" in ASCII
  uint64_t mark, data;
  uint32_t rank, element_bytes;
  uint64_t sizes[5];
  uint64_t strides[5];  // in bytes; the first is the size of an element
  uint16_t boxes[5];

  uint32_t box_bytes() const {
    uint32_t bytes = element_bytes;
    for (uint32_t d = 0; d < rank; ++d) bytes *= boxes[d];
    return bytes;
  }
};
static_assert(sizeof(TensorMap) <= 128, "CUtensorMap has 128 bytes");

// Returns the tensor map at a global address. Fails if cuTensorMapEncodeTiled has not written one there, or if it has
// another number of dimensions.
const TensorMap& tensor_map(const Warp& w, const Instruction& i, uint64_t address, int rank);
// Fails if a box cannot begin at this shared address.
void check_box_address(const Warp& w, const Instruction& i, uint32_t address);

// "Swizzling Modes": the 128-byte swizzle XORs bits 7 to 9 of an address into bits 4 to 6.
inline uint32_t swizzled(uint32_t address) { return address ^ (address >> 7 & 7) << 4; }

// Calls use(shared, global) with the two addresses of each element of the box at the coordinates `at`. In shared
// memory, the box begins at `begin`, and its innermost dimension has 128 bytes. `global` is 0 for elements outside of
// the tensor.
template <class F> void each_element(const TensorMap& map, const int32_t* at, uint32_t begin, F use) {
  const uint32_t inner = map.boxes[0], line = inner * map.element_bytes, lines = map.box_bytes() / line;
  for (uint32_t n = 0; n < lines; ++n) {
    uint32_t rest = n;
    bool inside = true;
    uint64_t row = map.data;
    for (uint32_t d = 1; d < map.rank; ++d) {
      const int64_t place = at[d] + static_cast<int64_t>(rest % map.boxes[d]);
      rest /= map.boxes[d];
      inside = inside && place >= 0 && place < static_cast<int64_t>(map.sizes[d]);
      row += static_cast<uint64_t>(place) * map.strides[d];
    }
    for (uint32_t e = 0; e < inner; ++e) {
      const int64_t column = at[0] + static_cast<int64_t>(e);
      const bool present = inside && column >= 0 && column < static_cast<int64_t>(map.sizes[0]);
      use(swizzled(begin + n * line + e * map.element_bytes),
          present ? row + static_cast<uint64_t>(column) * map.element_bytes : uint64_t{0});
    }
  }
}

}  // namespace simulator
