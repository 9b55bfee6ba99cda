// The matrix product of f32 operands on tensor cores (sm_80 and later), for callers that allow tf32: operands keep their 8 bits of exponent
// and 10 of the 23 after the point, rounded to nearest as they enter a fragment; products and sums are in f32. The ring of cp.async stages
// is gemm_tensor.cu's, with 32 depths a stage: as many bytes as 64 of bf16. What tf32 keeps of a product: "Recovering single precision
// accuracy from Tensor Cores" (Ootomo and Yokota 2022).
//
// Where the depth is innermost, ldmatrix brings fragments: its matrices of 16-bit pairs are 8 x 4 of 32 bits. Its .trans turns 16-bit
// elements, not these, so tiles with rows innermost are read a word a lane, under a swizzle of their own.
#include "cuda/gemm.cuh"
#include "cuda/tensor_tile.cuh"

namespace heddle {
namespace cuda {
namespace {

constexpr int depth = 32, words = 4;  // of a stage; of a piece of 16 bytes

template <int tile_m_, int tile_n_, int warps_m_, int warps_n_, int stages_> struct Tile {
  static constexpr int m = tile_m_, n = tile_n_, stages = stages_, warps_m = warps_m_, warps_n = warps_n_;
  static constexpr int threads = warps_m * warps_n * warp_size;
  static constexpr int warp_m = m / warps_m, warp_n = n / warps_n;
  static constexpr int stage_words = (m + n) * depth;
  static constexpr size_t bytes = static_cast<size_t>(stages) * stage_words * sizeof(float);
};
using SmallTile = Tile<64, 64, 2, 2, 3>;
template <int stages> using LargeTile = Tile<128, 128, 2, 4, stages>;

// Where word w of line r lies in a tile whose lines have `count` words. Depth innermost: the eight lines of an ldmatrix lie in different
// banks. Rows innermost: so do the words (depth t, row g) that a fragment's lanes read, t < 4 and g < 8.
template <int count, bool depth_innermost> __device__ inline int place(int r, int w) {
  return r * count + ((w / words) ^ (depth_innermost ? r & 7 : 2 * (r & 3))) * words + w % words;
}

// Queues the copies of a tile: `lines` lines of `count` words of x, from (line0, word0) on; zeros outside (line_end, word_end).
template <int lines, int count, bool depth_innermost, int threads>
__device__ inline void copy_words(float* tile, const float* x, int64_t ld, int64_t line0, int64_t word0, int64_t line_end, int64_t word_end) {
  constexpr int pieces = count / words;
  for (int e = threadIdx.x; e < lines * pieces; e += threads) {
    const int r = e / pieces, p = e % pieces;
    const int64_t line = line0 + r, word = word0 + p * words, left = word_end - word;
    const int valid = line < line_end && left > 0 ? (left < words ? static_cast<int>(left) : words) : 0;
    ptx::copy_async_16(tile + place<count, depth_innermost>(r, p * words), valid ? x + line * ld + word : x, valid * 4);
  }
}

template <class T, bool a_transposed, bool b_transposed>
__global__ void __launch_bounds__(T::threads, 1) tensor_tf32_kernel(Gemm whole, int64_t part) {
  constexpr int stages = T::stages;
  const Gemm g = part_of(whole, part);
  HEDDLE_DYNAMIC_SHARED(float, memory);
  constexpr int rows_m = T::warp_m / 16, columns_n = T::warp_n / 8;  // fragments of a warp
  const float *a = static_cast<const float*>(g.a.data), *b = static_cast<const float*>(g.b.data);
  const int64_t row0 = static_cast<int64_t>(blockIdx.y) * T::m, column0 = static_cast<int64_t>(blockIdx.x) * T::n;
  const int lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size;
  const int warp_row = warp / T::warps_n * T::warp_m, warp_column = warp % T::warps_n * T::warp_n;
  const int64_t k_begin = blockIdx.z * part, tiles = (g.k - k_begin + depth - 1) / depth;

  const auto copy_stage = [&](int64_t tile) {
    float* a_tile = memory + tile % stages * T::stage_words;
    float* b_tile = a_tile + T::m * depth;
    const int64_t k0 = k_begin + tile * depth;
    if (a_transposed) copy_words<depth, T::m, false, T::threads>(a_tile, a, g.lda, k0, row0, g.k, g.m);
    else copy_words<T::m, depth, true, T::threads>(a_tile, a, g.lda, row0, k0, g.m, g.k);
    if (b_transposed) copy_words<T::n, depth, true, T::threads>(b_tile, b, g.ldb, column0, k0, g.n, g.k);
    else copy_words<depth, T::n, false, T::threads>(b_tile, b, g.ldb, k0, column0, g.k, g.n);
  };

  float sum[rows_m][columns_n][4] = {};
  for (int64_t t = 0; t < stages - 1; ++t) {
    if (t < tiles) copy_stage(t);
    ptx::commit_copies();
  }
  for (int64_t t = 0; t < tiles; ++t) {
    ptx::wait_copies<stages - 2>();  // this thread's part of tile t is there
    __syncthreads();                 // everybody's is, and everybody has done with tile t - 1, whose place comes next
    if (t + stages - 1 < tiles) copy_stage(t + stages - 1);
    ptx::commit_copies();  // a group a tile, also an empty one: the count above relies on it
    const float* a_tile = memory + t % stages * T::stage_words;
    const float* b_tile = a_tile + T::m * depth;
    const int matrix = lane / 8, r = lane % 8;     // what this lane's address is of, in ldmatrix
    const int group = lane / 4, thread = lane % 4;  // and which elements of a fragment it holds
    for (int k = 0; k < depth; k += 8) {
      uint32_t left[rows_m][4], right[columns_n][2];
      HEDDLE_UNROLL
      for (int i = 0; i < rows_m; ++i) {
        const int row = warp_row + i * 16;
        if (a_transposed) {
          HEDDLE_UNROLL
          for (int e = 0; e < 4; ++e)
            left[i][e] = __float_as_uint(a_tile[place<T::m, false>(k + thread + e / 2 * 4, row + group + e % 2 * 8)]);
        } else {  // matrices 0, 1: rows 0-7, 8-15 of depths 0-3; 2, 3: of depths 4-7
          ptx::load_matrices<false>(left[i], a_tile + place<depth, true>(row + matrix % 2 * 8 + r, k + matrix / 2 * 4));
        }
        HEDDLE_UNROLL
        for (int e = 0; e < 4; ++e) left[i][e] = ptx::round_to_tf32(left[i][e]);
      }
      HEDDLE_UNROLL
      for (int j = 0; j < columns_n; j += 2) {
        const int column = warp_column + j * 8;
        if (b_transposed) {  // matrices 0, 1: columns 0-7 of depths 0-3, 4-7; 2, 3: columns 8-15
          uint32_t two[4];
          ptx::load_matrices<false>(two, b_tile + place<depth, true>(column + matrix / 2 * 8 + r, k + matrix % 2 * 4));
          right[j][0] = two[0], right[j][1] = two[1], right[j + 1][0] = two[2], right[j + 1][1] = two[3];
        } else {
          HEDDLE_UNROLL
          for (int e = 0; e < 4; ++e)
            right[j + e / 2][e % 2] = __float_as_uint(b_tile[place<T::n, false>(k + thread + e % 2 * 4, column + group + e / 2 * 8)]);
        }
        HEDDLE_UNROLL
        for (int e = 0; e < 4; ++e) right[j + e / 2][e % 2] = ptx::round_to_tf32(right[j + e / 2][e % 2]);
      }
      HEDDLE_UNROLL
      for (int i = 0; i < rows_m; ++i)
        HEDDLE_UNROLL
        for (int j = 0; j < columns_n; ++j) ptx::mma_tf32(sum[i][j], left[i], right[j]);
    }
  }

  float bias[columns_n][2] = {};
  if (g.bias.data) {
    HEDDLE_UNROLL
    for (int j = 0; j < columns_n; ++j) {
      HEDDLE_UNROLL
      for (int e = 0; e < 2; ++e) {
        const int64_t column = column0 + warp_column + j * 8 + lane % 4 * 2 + e;
        if (column < g.n) bias[j][e] = g.bias[column];
      }
    }
  }
  HEDDLE_UNROLL
  for (int i = 0; i < rows_m; ++i)
    HEDDLE_UNROLL
    for (int j = 0; j < columns_n; ++j)
      HEDDLE_UNROLL
      for (int e = 0; e < 4; ++e) {
        const int64_t row = row0 + warp_row + i * 16 + lane / 4 + e / 2 * 8, column = column0 + warp_column + j * 8 + lane % 4 * 2 + e % 2;
        if (row >= g.m || column >= g.n) continue;
        // Kept short: only when all of it unrolls do the sums stay in registers.
        const float v = sum[i][j][e] + bias[j][e % 2];
        const int64_t at = row * g.ldc + column;
        if (g.c.type == DType::f32) {
          float* c = static_cast<float*>(g.c.data);
          c[at] = g.accumulate ? v + c[at] : v;
        } else {
          static_cast<uint16_t*>(g.c.data)[at] = float_to_bf16(v);
        }
      }
}

template <class T> void run(const Context& context, const char* name, const Gemm& g, const GemmChoice& choice) {
  // The grid's second dimension is small: tall products go in strips, which are too many tiles to be cut into parts.
  constexpr int64_t strip = int64_t{65535} * T::m;
  for (int64_t row = 0; row < g.m; row += strip) {
    Gemm part = g;
    part.m = g.m - row < strip ? g.m - row : strip;
    part.a.data = static_cast<const float*>(g.a.data) + row * (g.a_transposed ? 1 : g.lda);
    part.c.data = static_cast<char*>(g.c.data) + row * g.ldc * static_cast<int64_t>(dtype_bytes(g.c.type));
    const unsigned splits = static_cast<unsigned>(choice.splits);
    const Grid grid{dim3(blocks_for(g.n, T::n), blocks_for(part.m, T::m), splits), dim3(T::threads), T::bytes};
    if (g.a_transposed) launch(context, name, grid, tensor_tf32_kernel<T, true, false>, part, choice.part);
    else if (g.b_transposed) launch(context, name, grid, tensor_tf32_kernel<T, false, true>, part, choice.part);
    else launch(context, name, grid, tensor_tf32_kernel<T, false, false>, part, choice.part);
  }
  if (choice.splits > 1) add_parts(context, name, g, choice.splits);
}

}  // namespace

void gemm_tf32(const Context& context, const char* name, const Gemm& g, const GemmChoice& choice) {
  if (choice.tile_m == 64) run<SmallTile>(context, name, g, choice);
  else if (choice.stages == 4) run<LargeTile<4>>(context, name, g, choice);
  else run<LargeTile<3>>(context, name, g, choice);
}

}  // namespace cuda
}  // namespace heddle
