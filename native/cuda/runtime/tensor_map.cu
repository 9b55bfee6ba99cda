#include "cuda/runtime/tensor_map.h"

#include <cuda_runtime.h>

#include "cuda/runtime/context.h"

namespace heddle {
namespace cuda {
namespace {

using Encode = decltype(&cuTensorMapEncodeTiled);

Encode find_encode() {
  void* function = nullptr;
  cudaDriverEntryPointQueryResult found = cudaDriverEntryPointSymbolNotFound;
  constexpr unsigned first_version = 12000;  // the CUDA version that introduced the function
  const cudaError_t status =
      cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, first_version, cudaEnableDefault, &found);
  // Clears the error, which the next check would otherwise report.
  if (status != cudaSuccess) cudaGetLastError();
  return status == cudaSuccess && found == cudaDriverEntryPointSuccess ? reinterpret_cast<Encode>(function) : nullptr;
}

Encode encode() {
  static const Encode found = find_encode();
  return found;
}

}  // namespace

bool has_tensor_maps() { return encode() != nullptr; }

namespace {

// Encodes a tensor map. sizes and boxes begin with the innermost dimension. strides are in elements and begin with the
// second dimension, because the innermost one is contiguous. element_bytes: 2 for bf16, 1 for bytes.
CUtensorMap make_map(const void* data, int element_bytes, cuuint32_t rank, const int64_t* sizes, const int64_t* strides,
    const int* boxes) {
  CUtensorMap map;
  cuuint64_t dims[4], bytes[3];
  cuuint32_t box[4], every[4] = {1, 1, 1, 1};
  for (cuuint32_t i = 0; i < rank; ++i)
    dims[i] = static_cast<cuuint64_t>(sizes[i]), box[i] = static_cast<cuuint32_t>(boxes[i]);
  for (cuuint32_t i = 0; i + 1 < rank; ++i)
    bytes[i] = static_cast<cuuint64_t>(strides[i]) * static_cast<cuuint64_t>(element_bytes);
  const CUtensorMapDataType type =
      element_bytes == 2 ? CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 : CU_TENSOR_MAP_DATA_TYPE_UINT8;
  const CUresult status =
      encode()(&map, type, rank, const_cast<void*>(data), dims, bytes, box, every, CU_TENSOR_MAP_INTERLEAVE_NONE,
          CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  // The driver returns the errors of earlier kernels too. CUresult and cudaError_t have the same numbers.
  check_cuda(static_cast<cudaError_t>(status), "cuTensorMapEncodeTiled");
  return map;
}

}  // namespace

CUtensorMap map_of_matrix(const void* data, int64_t rows, int64_t columns, int64_t ld, int box_rows) {
  const int64_t sizes[] = {columns, rows}, strides[] = {ld};
  const int boxes[] = {64, box_rows};
  return make_map(data, 2, 2, sizes, strides, boxes);
}

CUtensorMap map_of_bytes(const void* data, int64_t rows, int64_t columns, int64_t ld, int box_rows) {
  const int64_t sizes[] = {columns, rows}, strides[] = {ld};
  const int boxes[] = {128, box_rows};
  return make_map(data, 1, 2, sizes, strides, boxes);
}

CUtensorMap map_of_heads(const void* data, int64_t sequences, int64_t rows, int64_t heads, int64_t D, int box_rows) {
  const int64_t sizes[] = {D, heads, rows, sequences}, strides[] = {D, heads * D, rows * heads * D};
  const int boxes[] = {64, 1, box_rows, 1};
  return make_map(data, 2, 4, sizes, strides, boxes);
}

}  // namespace cuda
}  // namespace heddle
