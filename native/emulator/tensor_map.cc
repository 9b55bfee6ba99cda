// cuTensorMapEncodeTiled for matrices of 2-byte elements, with the conditions that the driver's documentation states.
#include <cstring>

#include "cuda.h"
#include "cuda_runtime.h"

namespace {

CUresult encode(CUtensorMap* map, CUtensorMapDataType type, cuuint32_t rank, void* data, const cuuint64_t* dims, const cuuint64_t* strides,
                const cuuint32_t* box, const cuuint32_t* element_strides, CUtensorMapInterleave interleave, CUtensorMapSwizzle swizzle,
                CUtensorMapL2promotion, CUtensorMapFloatOOBfill) {
  const auto aligned = [](uint64_t value, uint64_t to) { return value % to == 0; };
  const bool modelled = type == CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 && rank == 2 && interleave == CU_TENSOR_MAP_INTERLEAVE_NONE &&
                        (swizzle == CU_TENSOR_MAP_SWIZZLE_NONE || swizzle == CU_TENSOR_MAP_SWIZZLE_128B) && element_strides[0] == 1 && element_strides[1] == 1;
  const uint64_t inner_bytes = uint64_t{box[0]} * 2;
  if (!modelled || !aligned(reinterpret_cast<uintptr_t>(map), 64) || !aligned(reinterpret_cast<uintptr_t>(data), 16) || !aligned(strides[0], 16) ||
      strides[0] >= uint64_t{1} << 40 || dims[0] < 1 || dims[1] < 1 || dims[0] > uint64_t{1} << 32 || dims[1] > uint64_t{1} << 32 ||
      strides[0] < dims[0] * 2 || box[0] < 1 || box[0] > 256 || box[1] < 1 || box[1] > 256 || !aligned(inner_bytes, 16) ||
      (swizzle == CU_TENSOR_MAP_SWIZZLE_128B && inner_bytes > 128))
    return CUDA_ERROR_INVALID_VALUE;
  const heddle::emulator::TensorMap made{heddle::emulator::TensorMap::valid, static_cast<const char*>(data), dims[0], dims[1], strides[0], box[0], box[1],
                                         swizzle == CU_TENSOR_MAP_SWIZZLE_128B};
  std::memset(map, 0, sizeof *map);
  std::memcpy(map, &made, sizeof made);
  return CUDA_SUCCESS;
}

}  // namespace

cudaError_t cudaGetDriverEntryPointByVersion(const char* symbol, void** function, unsigned, unsigned long long, cudaDriverEntryPointQueryResult* found) {
  const bool known = std::strcmp(symbol, "cuTensorMapEncodeTiled") == 0;
  *function = known ? reinterpret_cast<void*>(&encode) : nullptr;
  *found = known ? cudaDriverEntryPointSuccess : cudaDriverEntryPointSymbolNotFound;
  return cudaSuccess;
}
