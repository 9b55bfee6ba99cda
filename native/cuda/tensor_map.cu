#include "cuda/tensor_map.h"

#include <cuda_runtime.h>

#include "runtime/error.h"

namespace heddle {
namespace cuda {
namespace {

using Encode = decltype(&cuTensorMapEncodeTiled);

Encode find_encode() {
  void* function = nullptr;
  cudaDriverEntryPointQueryResult found = cudaDriverEntryPointSymbolNotFound;
  constexpr unsigned first_version = 12000;  // of CUDA that has it
  const cudaError_t status = cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, first_version, cudaEnableDefault, &found);
  if (status != cudaSuccess) cudaGetLastError();  // the runtime keeps the last error: the next check must not see this one
  return status == cudaSuccess && found == cudaDriverEntryPointSuccess ? reinterpret_cast<Encode>(function) : nullptr;
}

Encode encode() {
  static const Encode found = find_encode();
  return found;
}

}  // namespace

bool has_tensor_maps() { return encode() != nullptr; }

CUtensorMap map_of_matrix(const void* data, int64_t rows, int64_t columns, int64_t ld, int box_rows) {
  CUtensorMap map;
  const cuuint64_t dims[2] = {static_cast<cuuint64_t>(columns), static_cast<cuuint64_t>(rows)}, strides[1] = {static_cast<cuuint64_t>(ld) * 2};
  const cuuint32_t box[2] = {64, static_cast<cuuint32_t>(box_rows)}, every[2] = {1, 1};
  const CUresult status = encode()(&map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 2, const_cast<void*>(data), dims, strides, box, every, CU_TENSOR_MAP_INTERLEAVE_NONE,
                                   CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (status != CUDA_SUCCESS) throw internal_error("cuTensorMapEncodeTiled: status " + std::to_string(static_cast<int>(status)));
  return map;
}

}  // namespace cuda
}  // namespace heddle
