// Maps by which the tensor memory accelerator (sm_90) finds boxes of a matrix. The driver makes them; nothing links
// against it.
#pragma once
#include <cuda.h>

#include <cstdint>

namespace heddle {
namespace cuda {

// Whether this driver can. Any thread.
bool has_tensor_maps();

// Makes the map of a bf16 matrix (rows, columns) with a row stride of ld elements. Addresses are 16-byte aligned, ld is
// a multiple of 8, and no size is 0. Boxes are (box_rows, 64), at most 256 rows, with the 128-byte swizzle. Throws
// INTERNAL if the driver refuses.
CUtensorMap map_of_matrix(const void* data, int64_t rows, int64_t columns, int64_t ld, int box_rows);

// The same of bytes: ld a multiple of 16, boxes of (box_rows, 128).
CUtensorMap map_of_bytes(const void* data, int64_t rows, int64_t columns, int64_t ld, int box_rows);

// x (sequences, rows, heads, D) of bf16; D a multiple of 8. Boxes are of 64 of a head's elements and box_rows rows of
// one sequence: (row, 64).
CUtensorMap map_of_heads(const void* data, int64_t sequences, int64_t rows, int64_t heads, int64_t D, int box_rows);

}  // namespace cuda
}  // namespace heddle
