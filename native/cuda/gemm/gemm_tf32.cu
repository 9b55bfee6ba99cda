// The matrix product of f32 operands on tensor cores (sm_80 and later), for devices that allow tf32. Operands are
// rounded to nearest when they are loaded into fragments. They keep 8 exponent bits and 10 of 23 mantissa bits.
// Products and sums are in f32. The main loop is that of gemm_multistage.cuh. A stage has 32 elements along k, as many
// bytes as 64 of bf16. "Recovering single precision accuracy from Tensor Cores" (Ootomo and Yokota 2022) analyses the
// accuracy of tf32.
//
// ldmatrix loads the fragments of K-major tiles. It treats an 8 x 4 matrix of 32-bit elements as 8 x 8 elements of 16
// bits. ldmatrix.trans transposes 16-bit elements only. So MN-major tiles are read one word per lane, with a
// different swizzle.
#include "cuda/gemm/gemm_multistage.cuh"

namespace heddle {
namespace cuda {
namespace {

constexpr int words = 4;  // words in a piece of 16 bytes

// Returns the index of word w of line r, in a tile with lines of `count` words. In K-major tiles, the swizzle puts the
// eight lines that ldmatrix reads at a time into different banks. In MN-major tiles, a load reads the words of four k
// and eight rows, and the swizzle puts these into different banks.
template <int count, bool k_major> __device__ inline int word_place(int r, int w) {
  return r * count + ((w / words) ^ (k_major ? r & 7 : 2 * (r & 3))) * words + w % words;
}

struct Tf32 {
  using Element = float;
  static constexpr int depth = 32, step = 8;
  static constexpr bool has_wide_tiles = false;

  template <int count, bool k_major> static __device__ int place(int r, int p) {
    return word_place<count, k_major>(r, p * words);
  }

  template <bool k_major, int count>
  static __device__ void load_left(uint32_t (&to)[4], const float* tile, int row, int k) {
    const int lane = threadIdx.x % warp_size, matrix = lane / 8;
    if (k_major) {  // matrices 0, 1: rows 0-7, 8-15 of k 0-3; matrices 2, 3: of k 4-7
      ptx::load_matrices<false>(
          to, tile + word_place<count, true>(row + matrix % 2 * 8 + lane % 8, k + matrix / 2 * 4));
    } else {
      HEDDLE_UNROLL
      for (int e = 0; e < 4; ++e)
        to[e] = __float_as_uint(tile[word_place<count, false>(k + lane % 4 + e / 2 * 4, row + lane / 4 + e % 2 * 8)]);
    }
    HEDDLE_UNROLL
    for (int e = 0; e < 4; ++e) to[e] = ptx::round_to_tf32(to[e]);
  }
  template <bool k_major, int count>
  static __device__ void load_right(uint32_t (&first)[2], uint32_t (&second)[2], const float* tile, int column, int k) {
    const int lane = threadIdx.x % warp_size, matrix = lane / 8;
    uint32_t two[4];
    if (k_major) {  // matrices 0, 1: columns 0-7 of k 0-3, 4-7; matrices 2, 3: columns 8-15
      ptx::load_matrices<false>(
          two, tile + word_place<count, true>(column + matrix / 2 * 8 + lane % 8, k + matrix % 2 * 4));
    } else {
      HEDDLE_UNROLL
      for (int e = 0; e < 4; ++e)
        two[e] =
            __float_as_uint(tile[word_place<count, false>(k + lane % 4 + e % 2 * 4, column + lane / 4 + e / 2 * 8)]);
    }
    HEDDLE_UNROLL
    for (int e = 0; e < 4; ++e) two[e] = ptx::round_to_tf32(two[e]);
    first[0] = two[0], first[1] = two[1], second[0] = two[2], second[1] = two[3];
  }
  static __device__ void multiply(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    ptx::mma_tf32(c, a, b);
  }
};

}  // namespace

void gemm_tf32(const Context& context, const char* name, const Gemm& g, const GemmChoice& choice) {
  multistage::multiply<Tf32>(context, name, g, choice);
}

}  // namespace cuda
}  // namespace heddle
