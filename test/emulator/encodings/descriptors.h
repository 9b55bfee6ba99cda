// Matrix descriptors of CUTLASS 4.7.0 for the tiles of the kernels of sm_90. A host program called CUTLASS's
// make_tiled_mma, tile_to_shape and partition_fragment_A or _B on a tile at the shared address 1024, and printed the
// descriptor of each step along k. A step is 16 elements of bf16, or 32 of e4m3.
//
// K-major tiles (rows, k) are tile_to_shape(GMMA::Layout_K_SW128_Atom). MN-major tiles are
// tile_to_shape(GMMA::Layout_MN_SW128_Atom, Step<_2, _1>): 64 rows for all k, then the next 64 rows. The atom is
// SM90_64xNx16_F32BF16BF16_SS, or _RS where the left operand is in registers, or SM90_64x128x32_F32E4M3E4M3_SS_TN.
#pragma once
#include <cstdint>
#include <vector>

namespace heddle {
namespace encodings {

constexpr uint64_t tile_address = 1024;

struct Tile {
  std::vector<uint64_t> steps;
  // The two warpgroups of make_tiled_mma divide the rows. This is the distance in bytes between their start addresses.
  uint64_t between_warpgroups = 0;
  // Whether the tile has only 64 rows for a product, and is MN-major. Then the leading dimension byte offset, from 64
  // rows to the next 64, means nothing.
  bool one_atom = false;
};

// K-major, one atom of 128 bytes along k. CUTLASS gives the same numbers for 64, 128 and 256 rows, and for e4m3.
//   (128, 64) as A of N = 64, 128 and 256, and B of N = 128; (256, 64) as B of N = 256; (64, 64) as B of N = 64
//   (128, 128) of e4m3 as A and B of N = 128
inline const Tile k_64{{0x4000004000010040, 0x4000004000010042, 0x4000004000010044, 0x4000004000010046}};
// The same tile as A of two warpgroups with 64 rows each.
inline const Tile k_64_by_rows{k_64.steps, 0x2000};

// K-major, several atoms along k, as A (N = 64 or 128) of two warpgroups, or as B with N = 128.
inline const std::vector<uint64_t> k_128x128_steps{0x4000004000010040, 0x4000004000010042, 0x4000004000010044,
    0x4000004000010046,  //
    0x4000004000010440, 0x4000004000010442, 0x4000004000010444, 0x4000004000010446};
inline const Tile k_128x128{k_128x128_steps}, k_128x128_by_rows{k_128x128_steps, 0x2000};
// (128, 256) as A, N = 64.
inline const Tile k_128x256_by_rows{
    {0x4000004000010040, 0x4000004000010042, 0x4000004000010044, 0x4000004000010046,     //
        0x4000004000010440, 0x4000004000010442, 0x4000004000010444, 0x4000004000010446,  //
        0x4000004000010840, 0x4000004000010842, 0x4000004000010844, 0x4000004000010846,  //
        0x4000004000010c40, 0x4000004000010c42, 0x4000004000010c44, 0x4000004000010c46},
    0x2000};
// (64, 128) as B, N = 64.
inline const Tile k_64x128{{0x4000004000010040, 0x4000004000010042, 0x4000004000010044, 0x4000004000010046,  //
    0x4000004000010240, 0x4000004000010242, 0x4000004000010244, 0x4000004000010246}};
// (64, 256) as B, N = 64.
inline const Tile k_64x256{{0x4000004000010040, 0x4000004000010042, 0x4000004000010044, 0x4000004000010046,  //
    0x4000004000010240, 0x4000004000010242, 0x4000004000010244, 0x4000004000010246,                          //
    0x4000004000010440, 0x4000004000010442, 0x4000004000010444, 0x4000004000010446,                          //
    0x4000004000010640, 0x4000004000010642, 0x4000004000010644, 0x4000004000010646}};

// MN-major (128, 64) as A of two warpgroups, N = 256.
inline const Tile mn_128x64_by_rows{
    {0x4000004000000040, 0x40000040000000c0, 0x4000004000000140, 0x40000040000001c0}, 0x2000, true};
// MN-major (64, 64) as B, N = 64.
inline const Tile mn_64x64{{0x4000004000000040, 0x40000040000000c0, 0x4000004000000140, 0x40000040000001c0}, 0, true};
// MN-major (256, 64) as B of N = 256, (128, 64) as B of N = 128.
inline const Tile mn_128x64{{0x4000004002000040, 0x40000040020000c0, 0x4000004002000140, 0x40000040020001c0}};
// MN-major (256, 64) as B, N = 128: the first 128 rows, then the others.
inline const Tile mn_256x64_in_halves{
    {0x4000004002000040, 0x40000040020000c0, 0x4000004002000140, 0x40000040020001c0,  //
        0x4000004002000440, 0x40000040020004c0, 0x4000004002000540, 0x40000040020005c0}};
// MN-major (64, 128) as A or B, N = 64.
inline const std::vector<uint64_t> mn_64x128_steps{0x4000004000000040, 0x40000040000000c0, 0x4000004000000140,
    0x40000040000001c0,  //
    0x4000004000000240, 0x40000040000002c0, 0x4000004000000340, 0x40000040000003c0};
inline const Tile mn_64x128{mn_64x128_steps, 0, true};
// MN-major (128, 128) as B, N = 64. The second warpgroup reads the other 64 rows. In CUTLASS these are the second tile
// along N, whose first descriptor is 0x4000004000000440.
inline const Tile mn_128x128_by_rows{mn_64x128_steps, 0x4000, true};
// MN-major (128, 128) as B, N = 128.
inline const Tile mn_128x128{{0x4000004004000040, 0x40000040040000c0, 0x4000004004000140, 0x40000040040001c0,  //
    0x4000004004000240, 0x40000040040002c0, 0x4000004004000340, 0x40000040040003c0}};

}  // namespace encodings
}  // namespace heddle
