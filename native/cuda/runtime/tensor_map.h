// Tensor maps, which describe to TMA (sm_90) the boxes of a tensor. The driver encodes them; its function is looked up
// at run time instead of linked.
#pragma once
#include <cuda.h>

#include <cstdint>

namespace heddle {
namespace cuda {

// Whether the driver can encode tensor maps. Thread-safe.
bool has_tensor_maps();

// Returns the map of a bf16 matrix (rows, columns) with leading dimension ld. data is 16-byte aligned, ld is a multiple
// of 8, and no size is 0. Boxes are (box_rows, 64), with at most 256 rows and the 128-byte swizzle. Throws INTERNAL if
// the driver fails.
CUtensorMap map_of_matrix(const void* data, int64_t rows, int64_t columns, int64_t ld, int box_rows);

// As map_of_matrix for a matrix of bytes. ld is a multiple of 16, and boxes are (box_rows, 128).
CUtensorMap map_of_bytes(const void* data, int64_t rows, int64_t columns, int64_t ld, int box_rows);

// Returns the map of x (sequences, rows, heads, D) in bf16, with D a multiple of 8. Boxes are (box_rows, 64): 64
// columns of one head, and box_rows rows of one sequence.
CUtensorMap map_of_heads(const void* data, int64_t sequences, int64_t rows, int64_t heads, int64_t D, int box_rows);

}  // namespace cuda
}  // namespace heddle
