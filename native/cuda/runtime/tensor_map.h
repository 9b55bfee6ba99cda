// Tensor maps of sm_90's TMA, which describe a tensor in global memory and the boxes to copy. The driver encodes them.
// Its function is looked up at run time, so that nothing links against libcuda.
#pragma once
#include <cuda.h>

#include <cstdint>

namespace heddle {
namespace cuda {

// Whether the driver can encode tensor maps. Thread-safe.
bool has_tensor_maps();

// Returns the map of a bf16 matrix (rows, columns) with leading dimension ld. Requires 16-byte aligned data, an ld that
// is a multiple of 8, and sizes above 0. Boxes are (box_rows, 64) with the 128-byte swizzle. box_rows is at most 256.
// Throws INTERNAL if the driver fails.
CUtensorMap map_of_matrix(const void* data, int64_t rows, int64_t columns, int64_t ld, int box_rows);

// Like map_of_matrix, for a matrix of bytes. ld is a multiple of 16, and boxes are (box_rows, 128).
CUtensorMap map_of_bytes(const void* data, int64_t rows, int64_t columns, int64_t ld, int box_rows);

// Returns the map of x (sequences, rows, heads, D) in bf16, with D a multiple of 8. Boxes are (box_rows, 64): 64
// columns of one head, and box_rows rows of one sequence.
CUtensorMap map_of_heads(const void* data, int64_t sequences, int64_t rows, int64_t heads, int64_t D, int box_rows);

}  // namespace cuda
}  // namespace heddle
