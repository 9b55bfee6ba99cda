// Arguments that CUTLASS 4.7.0 passes to cuTensorMapEncodeTiled for the operands of the cases of encodings.cc. A host
// program called make_tma_copy with a replacement of the driver's function, which printed its arguments. The layouts in
// shared memory are those of descriptors.h. Numbers begin with the innermost dimension.
//
// In all of them, element strides are 1, there is no interleave, the swizzle is CU_TENSOR_MAP_SWIZZLE_128B, and the
// fill is CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE.
#pragma once
#include <cstdint>
#include <tuple>
#include <vector>

#include "cuda.h"

namespace heddle {
namespace encodings {

constexpr CUtensorMapDataType bf16_type = CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, byte_type = CU_TENSOR_MAP_DATA_TYPE_UINT8;

// The L2 promotion is a hint, which changes no result. CUTLASS reads 128 bytes at least, the kernels 256.
constexpr CUtensorMapL2promotion promotion_of_cutlass = CU_TENSOR_MAP_L2_PROMOTION_L2_128B,
                                 promotion_of_kernels = CU_TENSOR_MAP_L2_PROMOTION_L2_256B;

struct Map {
  CUtensorMapDataType type;
  std::vector<uint64_t> sizes, strides;  // strides in bytes, from the second dimension on
  std::vector<uint32_t> box;

  auto fields() const { return std::tie(type, sizes, strides, box); }
  bool operator<(const Map& other) const { return fields() < other.fields(); }
  bool operator==(const Map& other) const { return fields() == other.fields(); }
};

}  // namespace encodings
}  // namespace heddle
