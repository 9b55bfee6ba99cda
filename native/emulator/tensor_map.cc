// cuTensorMapEncodeTiled for bf16 and bytes. It rejects arguments that the driver's documentation forbids, and features
// that the emulator lacks.
#include <algorithm>
#include <cstring>

#include "cuda.h"
#include "cuda_runtime.h"
#include "emulator/observer.h"

heddle::emulator::Observer& heddle::emulator::observer() {
  static Observer only;
  return only;
}

namespace {

CUresult encode(CUtensorMap* map, CUtensorMapDataType type, cuuint32_t rank, void* data, const cuuint64_t* dims,
    const cuuint64_t* strides, const cuuint32_t* box, const cuuint32_t* element_strides,
    CUtensorMapInterleave interleave, CUtensorMapSwizzle swizzle, CUtensorMapL2promotion promotion,
    CUtensorMapFloatOOBfill fill) {
  const auto aligned = [](uint64_t value, uint64_t to) { return value % to == 0; };
  const uint32_t size = type == CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 ? 2 : 1;
  bool right = (type == CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 || type == CU_TENSOR_MAP_DATA_TYPE_UINT8) && rank >= 1 &&
               rank <= 4 && interleave == CU_TENSOR_MAP_INTERLEAVE_NONE &&
               (swizzle == CU_TENSOR_MAP_SWIZZLE_NONE || swizzle == CU_TENSOR_MAP_SWIZZLE_128B) &&
               aligned(reinterpret_cast<uintptr_t>(map), 64) && aligned(reinterpret_cast<uintptr_t>(data), 16) &&
               aligned(uint64_t{box[0]} * size, 16) &&
               (swizzle == CU_TENSOR_MAP_SWIZZLE_NONE || uint64_t{box[0]} * size <= 128);
  for (cuuint32_t i = 0; right && i < rank; ++i) {
    right = dims[i] >= 1 && dims[i] <= 0xffffffffu && box[i] >= 1 && box[i] <= 256 && element_strides[i] == 1;
    if (i > 0) right = right && aligned(strides[i - 1], 16) && strides[i - 1] < uint64_t{1} << 40;
  }
  if (!right) return CUDA_ERROR_INVALID_VALUE;
  if (heddle::emulator::observer().map) {
    heddle::emulator::MapArguments seen{type, rank, {}, {}, {}, {}, interleave, swizzle, promotion, fill};
    std::copy(dims, dims + rank, seen.dims);
    std::copy(strides, strides + rank - 1, seen.strides);
    std::copy(box, box + rank, seen.box);
    std::copy(element_strides, element_strides + rank, seen.element_strides);
    heddle::emulator::observer().map(seen);
  }
  heddle::emulator::TensorMap made{heddle::emulator::TensorMap::valid, static_cast<const char*>(data), rank,
      {1, 1, 1, 1}, {1, 1, 1, 1}, {}, swizzle == CU_TENSOR_MAP_SWIZZLE_128B, size};
  for (cuuint32_t i = 0; i < rank; ++i) made.dims[i] = static_cast<uint32_t>(dims[i]), made.box[i] = box[i];
  for (cuuint32_t i = 1; i < rank; ++i) made.strides[i - 1] = strides[i - 1];
  std::memset(map, 0, sizeof *map);
  std::memcpy(map, &made, sizeof made);
  return CUDA_SUCCESS;
}

}  // namespace

cudaError_t cudaGetDriverEntryPointByVersion(
    const char* symbol, void** function, unsigned, unsigned long long, cudaDriverEntryPointQueryResult* found) {
  const bool known = std::strcmp(symbol, "cuTensorMapEncodeTiled") == 0;
  *function = known ? reinterpret_cast<void*>(&encode) : nullptr;
  *found = known ? cudaDriverEntryPointSuccess : cudaDriverEntryPointSymbolNotFound;
  return cudaSuccess;
}
