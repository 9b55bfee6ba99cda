// Maps by which the tensor memory accelerator (sm_90) finds boxes of a matrix. The driver makes them; nothing links against it.
#pragma once
#include <cuda.h>

#include <cstdint>

namespace heddle {
namespace cuda {

// Whether this driver can. Any thread.
bool has_tensor_maps();

// A matrix (rows, columns) of bf16 whose rows lie ld elements apart: 16-byte addresses, ld a multiple of 8, none of them 0. Boxes are of
// (box_rows, 64), at most 256 rows, and lie in shared memory with the 128-byte swizzle. Throws INTERNAL where the driver refuses.
CUtensorMap map_of_matrix(const void* data, int64_t rows, int64_t columns, int64_t ld, int box_rows);

// The same of bytes: ld a multiple of 16, boxes of (box_rows, 128).
CUtensorMap map_of_bytes(const void* data, int64_t rows, int64_t columns, int64_t ld, int box_rows);

// x (sequences, rows, heads, D) of bf16; D a multiple of 8. Boxes are of 64 of a head's elements and box_rows rows of one sequence: (row, 64).
CUtensorMap map_of_heads(const void* data, int64_t sequences, int64_t rows, int64_t heads, int64_t D, int box_rows);

}  // namespace cuda
}  // namespace heddle
