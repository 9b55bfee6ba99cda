// The main loop of matrix products by mma.sync (sm_80 and later). cp.async copies both operands, in pieces of 16 bytes,
// into a ring of three stages in shared memory. Warps load fragments from the stages and multiply them. After
// CUTLASS's multistage pipeline (Thakkar et al.) and "Dissecting Ampere" (Sun et al. 2022).
//
// A tile in shared memory keeps the layout of its operand: (rows of a or columns of b, k) if the operand is K-major,
// otherwise (k, rows or columns). A line is a contiguous row of this layout. Everything that depends on the element
// type is in an Operand:
//
//   Element                                   the element type of a tile
//   depth, step                               elements along k of a stage (128 bytes) and of a fragment
//   place<count, k_major>(r, p)               index of piece p of line r, in a tile with lines of `count` elements
//   load_left, load_right<k_major, count>     load a fragment of 16 rows of a, and two fragments of 8 columns of b
//   multiply(c, a, b)                         mma.sync of these fragments
//   has_wide_tiles                            whether its products have kernels for a WideTile
#pragma once
#include "cuda/gemm/gemm_end.cuh"
#include "cuda/gemm/tensor_tile.cuh"

namespace heddle {
namespace cuda {
namespace multistage {

// line_bytes: bytes of a line of a K-major tile. piece_bytes: bytes of one cp.async.
constexpr int line_bytes = 128, piece_bytes = 16;

template <int tile_m_, int tile_n_, int warps_m_, int warps_n_, int stages_> struct Tile {
  static constexpr int m = tile_m_, n = tile_n_, stages = stages_, warps_m = warps_m_, warps_n = warps_n_;
  static constexpr int threads = warps_m * warps_n * warp_size;
  static constexpr int warp_m = m / warps_m, warp_n = n / warps_n;
  static constexpr int rows = warp_m / 16, columns = warp_n / 8;  // accumulator fragments of a warp
  static constexpr size_t bytes = static_cast<size_t>(stages) * (m + n) * line_bytes;
};
using SmallTile = Tile<64, 64, 2, 2, 3>;
using LargeTile = Tile<128, 128, 2, 4, 3>;
// A warp multiplies 64 x 64 elements, so it loads a third less from shared memory for each product than in a LargeTile.
using WideTile = Tile<128, 256, 2, 4, 3>;

// Whether a device that runs this code may use tiles of T. Kernels of other tiles are empty, to keep the addon small.
// Devices of compute capability 12.0 lack the shared memory for wide tiles, and those that run code for sm_90a use
// wgmma instead (has_wide_tiles in choice.h).
template <class T> __device__ constexpr bool is_used() {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL) || (defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 1200)
  return T::n < WideTile::n;
#else
  return true;
#endif
}

// Starts the copies of a tile of `lines` lines with `count` elements, from (line0, first) of x on. Lines from line_end
// on and elements from `end` on become zeros. With `pairs`, 16 lines of x alternate with the same 16 lines of `up`.
// Each lane then accumulates the same columns of both factors.
template <class Operand, int lines, int count, bool k_major, int threads, bool pairs = false>
__device__ inline void copy_lines(typename Operand::Element* tile, const typename Operand::Element* x, int64_t ld,
    int64_t line0, int64_t first, int64_t line_end, int64_t end, const typename Operand::Element* up = nullptr) {
  constexpr int bytes = sizeof(typename Operand::Element), elements = piece_bytes / bytes, pieces = count / elements;
  // A thread copies the same piece of every `step`-th line, from its first line on.
  constexpr int step = threads / pieces;
  static_assert(threads % pieces == 0 && lines % step == 0, "all threads copy equally many lines");
  static_assert(step % 8 == 0, "swizzles repeat after eight lines, so the places of a thread are equally far apart");
  static_assert(!pairs || step % 32 == 0 || step == 16, "a thread's lines have the same place in their groups of 16");
  const int r = threadIdx.x / pieces, p = threadIdx.x % pieces;
  const int64_t left = end - first - p * elements;
  const int valid = left <= 0 ? 0 : left < elements ? static_cast<int>(left) * bytes : piece_bytes;
  const int64_t line = line0 + (pairs ? r / 32 * 16 + r % 16 : r), offset = line * ld + p * elements + first;
  typename Operand::Element* const to = tile + Operand::template place<count, k_major>(r, p);
  HEDDLE_UNROLL
  for (int i = 0; i < lines / step; ++i) {
    const int lines_on = pairs ? (step == 16 ? i / 2 * 16 : i * (step / 2)) : i * step;
    const typename Operand::Element* from = pairs && (step == 16 ? i : r / 16) % 2 ? up : x;
    const bool inside = line + lines_on < line_end && valid > 0;
    ptx::copy_async_16(to + i * step * count, inside ? from + offset + lines_on * ld : from, inside ? valid : 0);
  }
}

// Part of an Operand for 16-bit elements: bf16, or pairs of e4m3. ldmatrix loads the fragments, with .trans from tiles
// that are not K-major.
struct Pairs {
  using Element = uint16_t;
  static constexpr int depth = gemm_depth, step = 16;

  template <int count, bool> static __device__ int place(int r, int p) { return swizzled<count / piece>(r, p); }

  template <bool k_major, int count>
  static __device__ void load_left(uint32_t (&to)[4], const uint16_t* tile, int row, int k) {
    if (k_major) cuda::load_left<count>(to, tile, row, k);
    else load_left_transposed<count>(to, tile, row, k);
  }
  template <bool k_major, int count>
  static __device__ void load_right(
      uint32_t (&first)[2], uint32_t (&second)[2], const uint16_t* tile, int column, int k) {
    if (k_major) cuda::load_right<count>(first, second, tile, column, k);
    else load_right_transposed<count>(first, second, tile, column, k);
  }
};

// The Operand of bf16.
struct Bf16 : Pairs {
  static constexpr bool has_wide_tiles = true;

  static __device__ void multiply(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    ptx::mma_bf16(c, a, b);
  }
};

// Adds the product of `tiles` tiles along k to `sum`. copy(a_tile, b_tile, t) starts the copies of the t-th tiles. It
// is called once per t, in ascending order. Calls after(t) when the products of the t-th tiles have been added. All
// threads of the block must call it.
template <class Operand, class T, bool a_transposed, bool b_transposed, class Copy, class After>
__device__ inline void multiply_ring(typename Operand::Element* memory, int64_t tiles,
    float (&sum)[T::rows][T::columns][4], const Copy& copy, const After& after) {
  using Element = typename Operand::Element;
  constexpr int depth = Operand::depth, stages = T::stages;
  const int warp = threadIdx.x / warp_size, warp_row = warp / T::warps_n * T::warp_m,
            warp_column = warp % T::warps_n * T::warp_n;

  const auto copy_stage = [&](int64_t tile) {
    Element* a_tile = memory + tile % stages * (T::m + T::n) * depth;
    copy(a_tile, a_tile + T::m * depth, tile);
  };

  for (int64_t t = 0; t < stages - 1; ++t) {
    if (t < tiles) copy_stage(t);
    ptx::commit_copies();
  }
  for (int64_t t = 0; t < tiles; ++t) {
    ptx::wait_copies<stages - 2>();  // the copies of tile t by this thread are complete
    __syncthreads();  // the copies of tile t by all threads are complete, and all threads have read tile t - 1
    if (t + stages - 1 < tiles) copy_stage(t + stages - 1);
    ptx::commit_copies();  // one group per tile, even if empty, because wait_copies counts groups
    const Element* a_tile = memory + t % stages * (T::m + T::n) * depth;
    const Element* b_tile = a_tile + T::m * depth;
    for (int k = 0; k < depth; k += Operand::step) {
      uint32_t left[T::rows][4], right[T::columns][2];
      HEDDLE_UNROLL
      for (int i = 0; i < T::rows; ++i)
        Operand::template load_left<!a_transposed, a_transposed ? T::m : depth>(left[i], a_tile, warp_row + i * 16, k);
      HEDDLE_UNROLL
      for (int j = 0; j < T::columns; j += 2)
        Operand::template load_right<b_transposed, b_transposed ? depth : T::n>(
            right[j], right[j + 1], b_tile, warp_column + j * 8, k);
      HEDDLE_UNROLL
      for (int i = 0; i < T::rows; ++i) {
        HEDDLE_UNROLL
        for (int j = 0; j < T::columns; ++j) Operand::multiply(sum[i][j], left[i], right[j]);
      }
    }
    after(t);
  }
}

// The operands in global memory, and the range [k_begin, k_end) of k to multiply. up: the second right operand of a
// gated product. terms, term_depth: those of Gemm.
template <class Operand> struct Sides {
  const typename Operand::Element *a, *b, *up;
  int64_t lda, ldb, m, n, k_begin, k_end;
  int terms = 1;
  int64_t term_depth = 0;
};

// Adds the product of the block's output tile, which begins at (row0, column0), to `sum`. In a gated product, the tile
// has T::n / 2 columns of each factor. `after` is that of multiply_ring.
template <class Operand, class T, bool a_transposed, bool b_transposed, bool gated, class After>
__device__ inline void multiply_stages(typename Operand::Element* memory, const Sides<Operand>& s, int64_t row0,
    int64_t column0, float (&sum)[T::rows][T::columns][4], const After& after) {
  using Element = typename Operand::Element;
  constexpr int depth = Operand::depth;
  // The next stage begins at a_k of a, and at a_k of the term of b that begins at b_term.
  int64_t a_k = s.k_begin, b_term = 0;
  const int64_t b_end = s.terms == 1 ? s.k_end : s.terms * s.term_depth;
  const auto copy = [&](Element* a_tile, Element* b_tile, int64_t) {
    const int64_t b_k = b_term + a_k;
    if (a_transposed) copy_lines<Operand, depth, T::m, false, T::threads>(a_tile, s.a, s.lda, a_k, row0, s.k_end, s.m);
    else copy_lines<Operand, T::m, depth, true, T::threads>(a_tile, s.a, s.lda, row0, a_k, s.m, s.k_end);
    if (b_transposed)
      copy_lines<Operand, T::n, depth, true, T::threads, gated>(b_tile, s.b, s.ldb, column0, b_k, s.n, b_end, s.up);
    else copy_lines<Operand, depth, T::n, false, T::threads>(b_tile, s.b, s.ldb, b_k, column0, b_end, s.n);
    a_k += depth;
    if (a_k >= s.k_end) a_k = s.k_begin, b_term += s.term_depth;
  };
  const int64_t tiles = ceil_div(s.k_end - s.k_begin, depth) * s.terms;
  multiply_ring<Operand, T, a_transposed, b_transposed>(memory, tiles, sum, copy, after);
}

// Stages the sums of the block's output tile, 16 rows by 32 columns of each warp at a time. Calls use(own, row, column)
// for each of these: `own` has the sums, and (row, column) is their place in the tile. `use` synchronizes the warp
// before it reads `own`, and before it returns. After a barrier, the ring serves as the staging area. All threads of
// the block must call it.
template <class T, class Use>
__device__ inline void stage_sums(float* ring, const float (&sum)[T::rows][T::columns][4], const Use& use) {
  static_assert(T::warp_n % staged_columns == 0 && T::bytes >= T::threads / warp_size * staged_floats * sizeof(float),
      "a warp stages 16 rows of 32 columns at a time, in the ring");
  constexpr int across = T::warp_n / staged_columns, fragments = staged_columns / 8;
  const int warp = threadIdx.x / warp_size;
  float* own = ring + warp * staged_floats;
  __syncthreads();
  HEDDLE_ROLLED
  for (int i = 0; i < T::rows * across; ++i) {
    HEDDLE_UNROLL
    for (int p = 0; p < T::rows * across; ++p) {
      if (p != i) continue;  // register indices are constant, and the epilogue is instantiated only once
      HEDDLE_UNROLL
      for (int j = 0; j < fragments; ++j) {
        const float(&four)[4] = sum[p / across][p % across * fragments + j];
        stage_fragment(own, j, four[0], four[1], four[2], four[3]);
      }
    }
    use(own, warp / T::warps_n * T::warp_m + i / across * staged_rows,
        warp % T::warps_n * T::warp_n + i % across * staged_columns);
  }
}

// Applies the epilogue to the block's output tile, which begins at (row0, column0). stores: only_stores(g) is true for
// every product of the kernel.
template <class T, bool gated, bool stores = false>
__device__ inline void epilogue_tile(
    const Gemm& g, float* ring, int64_t row0, int64_t column0, const float (&sum)[T::rows][T::columns][4]) {
  const bool plain = stores || only_stores<gated>(g);
  stage_sums<T>(ring, sum, [&](const float* own, int row, int column) {
    epilogue_fragments<gated>(g, plain, own, row0 + row, column0 + (gated ? column / 2 : column));
  });
}

template <class Operand, class T, bool a_transposed, bool b_transposed, bool gated>
__global__ void __launch_bounds__(T::threads, 1) tensor_kernel(PreviousKernel previous, Gemm whole, int64_t part) {
  static_assert(!gated || b_transposed, "a gated product needs b stored as (n, k)");
  if (!is_used<T>()) return;
  using Element = typename Operand::Element;
  HEDDLE_DYNAMIC_SHARED(Element, memory);
  previous.wait();
  const Gemm g = part_of(whole, part);
  const int64_t row0 = static_cast<int64_t>(blockIdx.y) * T::m,
                column0 = static_cast<int64_t>(blockIdx.x) * (gated ? T::n / 2 : T::n);
  const auto elements = [](const View& x) { return static_cast<const Element*>(x.data); };
  const Sides<Operand> sides{elements(g.a), elements(g.b), elements(g.epilogue.up), g.lda, g.ldb, g.m, g.n,
      blockIdx.z * part, g.k, g.b_terms, whole.term_depth()};
  float sum[T::rows][T::columns][4] = {};
  multiply_stages<Operand, T, a_transposed, b_transposed, gated>(memory, sides, row0, column0, sum, [](int64_t) {});
  epilogue_tile<T, gated, a_transposed>(g, reinterpret_cast<float*>(memory), row0, column0, sum);
}

template <class Operand, class T>
void run(const Context& context, const char* name, const Gemm& g, const GemmChoice& choice) {
  in_strips(g, T::m, [&](const Gemm& strip) {
    const int64_t columns = g.gated() ? 2 * g.n : g.n;
    const Grid grid{dim3(blocks_for(columns, T::n), blocks_for(strip.m, T::m), static_cast<unsigned>(choice.splits)),
        dim3(T::threads), T::bytes};
    if (g.gated()) launch(context, name, grid, tensor_kernel<Operand, T, false, true, true>, strip, choice.part);
    else if (g.a_transposed)
      launch(context, name, grid, tensor_kernel<Operand, T, true, false, false>, strip, choice.part);
    else if (g.b_transposed)
      launch(context, name, grid, tensor_kernel<Operand, T, false, true, false>, strip, choice.part);
    else launch(context, name, grid, tensor_kernel<Operand, T, false, false, false>, strip, choice.part);
  });
  if (choice.splits > 1) add_parts(context, name, g, choice.splits);
}

// Launches the kernels of a product, with the tile size, stages and parts of `choice`.
template <class Operand>
void multiply(const Context& context, const char* name, const Gemm& g, const GemmChoice& choice) {
  if constexpr (Operand::has_wide_tiles)
    if (choice.tile_n == WideTile::n) return run<Operand, WideTile>(context, name, g, choice);
  if (choice.tile_m == 64) run<Operand, SmallTile>(context, name, g, choice);
  else run<Operand, LargeTile>(context, name, g, choice);
}

}  // namespace multistage
}  // namespace cuda
}  // namespace heddle
