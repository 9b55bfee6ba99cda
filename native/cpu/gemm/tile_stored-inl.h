// Multiplies up to 256 rows of x by bf16 weights in their stored layout, on AMX tiles. The tiles hold the transposed
// product: 16 outputs are the rows of one operand, read in place, and rows of x are the columns of the other. The
// weights need no packing, and each of their cache lines is read from memory once: 32 outputs are multiplied by all
// rows of x while the next 32 are prefetched into L2. The bits equal those of gemm_tiles-inl.h, because steps of k have
// the same order and multiplication is commutative.
#pragma once

#include "cpu/gemm/tile_stream-inl.h"

namespace heddle {
namespace HEDDLE_ISA {

#if defined(HEDDLE_SIMD_AMX)
// Limits of the rows of x, and the number of rows that are processed at a time.
constexpr int64_t stored_min_rows = 4, stored_max_rows = 256, stored_chunk = 2 * TILE;
constexpr int64_t stored_steps_ahead = 6;  // prefetch distance into L2 for a single chunk
// Maximum size of x with several chunks: the part of L2 that the weights of the current and next outputs leave free.
constexpr int64_t stored_x_bytes = 1 << 20;

inline bool can_use_stored_tiles(const Gemm& g) {
  return g.m >= stored_min_rows && g.m <= stored_max_rows && (g.m <= stored_chunk || g.m * g.k * 2 <= stored_x_bytes) &&
         g.b_transposed && !g.b_packed && !g.b_unpacked && !g.a_transposed && !g.accumulate && !g.c_transposed &&
         !g.rowwise && g.k > 0 && g.k % tile_depth == 0 && g.n >= tile_side;
}
inline size_t stored_scratch(int64_t m, int64_t k, int threads) {
  const int64_t steps = ceil_div(k, tile_depth),
                most = max_of(stored_chunk * steps * TILE, stored_x_bytes / 4 + steps * TILE * TILE);
  return sizeof(float) * static_cast<size_t>(threads * (min_of(round_up(m, TILE) * steps * TILE, most) + TILE));
}

// Packs rows of x (at most TILE) as columns: per step, TILE pairs of neighboring elements, and per pair all rows.
// Writes up to W floats beyond the end.
inline void pack_stored_columns(const bf16* x, int64_t ld, int64_t rows, int64_t columns, int64_t steps, float* to) {
  for (int64_t s = 0; s < steps; ++s, x += tile_depth) {
    F r[TILE];
#pragma GCC unroll 16
    for (int64_t i = 0; i < TILE; ++i) r[i] = i < rows ? load_pairs(x + i * ld) : zero();
    transpose(r);
#pragma GCC unroll 16
    for (int64_t p = 0; p < TILE; ++p, to += columns) store(to, r[p]);
  }
}

// The rows of x in a chunk: `first` are columns of one tile, `others` of a second. With a single chunk, tiles are as
// wide as there are rows. Several chunks use full tiles, because changing the tile shape takes time.
struct StoredRows {
  int64_t m;
  int64_t chunks() const { return ceil_div(m, stored_chunk); }
  int64_t here(int64_t c) const { return min_of(stored_chunk, m - c * stored_chunk); }
  int64_t columns(int64_t rows) const { return chunks() > 1 && rows > 0 ? TILE : rows; }
  int64_t first(int64_t c) const { return columns(min_of<int64_t>(TILE, here(c))); }
  int64_t others(int64_t c) const { return columns(max_of<int64_t>(0, here(c) - TILE)); }
  int64_t all() const { return chunks() > 1 ? round_up(m, TILE) : m; }
};

// Computes outputs of a product for all rows of x. `x` holds the rows packed as columns, chunk by chunk.
struct StoredTiles {
  const Gemm& g;
  const float* x;
  StoredRows rows{g.m};
  int64_t steps = g.k / tile_depth;

  Tiles shape(int64_t outputs) const {
    return Tiles(static_cast<int>(outputs), static_cast<int>(rows.first(0)),
        static_cast<int>(max_of<int64_t>(1, rows.others(0))));
  }

  // Computes outputs [i0, i1).
  void run(int64_t i0, int64_t i1) const {
    int64_t i = i0;
    if (i1 - i >= tile_side) {
      [[maybe_unused]] const Tiles whole = shape(TILE);
      for (; i1 - i >= tile_side; i += tile_side)
        for (int64_t c = 0; c < rows.chunks(); ++c)
          rows.others(c) ? block<2, 2>(i, tile_side, c, i1) : block<2, 1>(i, tile_side, c, i1);
    }
    for (int64_t height; i < i1; i += height) {
      height = min_of<int64_t>(TILE, i1 - i);
      [[maybe_unused]] const Tiles part = shape(height);
      for (int64_t c = 0; c < rows.chunks(); ++c)
        rows.others(c) ? block<1, 2>(i, height, c, i1) : block<1, 1>(i, height, c, i1);
    }
  }

 private:
  // Multiplies R tiles of outputs from i on, `height` in all, by the C tiles of chunk c. `last`: end of the outputs
  // that are prefetched.
  template <int R, int C> void block(int64_t i, int64_t height, int64_t c, int64_t last) const {
    alignas(64) float local[stored_chunk * tile_side], sums[4][TILE * TILE];
    const int64_t first = rows.first(c), others = rows.others(c), chunks = rows.chunks(), row_bytes = g.ldb * 2;
    const bf16* w = static_cast<const bf16*>(g.b) + i * g.ldb;
    const float *columns = x + c * stored_chunk * steps * TILE, *more = columns + steps * TILE * first;
    begin<0, 0>(i, height, sums);
    if (R == 2) begin<1, 1>(i, height, sums);
    if (C == 2) begin<2, 0>(i, height, sums);
    if (R == 2 && C == 2) begin<3, 1>(i, height, sums);
    // Each chunk prefetches its share of the next outputs. A single chunk prefetches a few steps ahead instead.
    const int64_t after = min_of(tile_side, last - i - height), r0 = after * c / chunks,
                  turn = chunks > 1 ? 0 : max_of<int64_t>(0, steps - stored_steps_ahead);
    const char* soon = reinterpret_cast<const char*>(w + (steps - turn) * tile_depth);
    int64_t soon_rows = height;
    for (int64_t s = 0; s < steps; ++s, w += tile_depth, soon += 2 * tile_depth) {
      if (s == turn) {
        soon_rows = after * (c + 1) / chunks - r0;
        soon = reinterpret_cast<const char*>(static_cast<const bf16*>(g.b) + (i + height + r0) * g.ldb);
      }
      tile_load<6>(columns, first * 4), columns += TILE * first;
      tile_load<4>(w, row_bytes);
      tile_dot<0, 4, 6>();
      if (C == 2) {
        tile_load<7>(more, others * 4), more += TILE * others;
        tile_dot<2, 4, 7>();
      }
      if (R == 2) {
        tile_load<5>(w + TILE * g.ldb, row_bytes);
        tile_dot<1, 5, 6>();
        if (C == 2) tile_dot<3, 5, 7>();
      }
      for (int64_t r = 0; r < soon_rows; ++r) __builtin_prefetch(soon + r * row_bytes, 0, 2);
    }
    tile_store<0>(sums[0], first * 4);
    if (R == 2) tile_store<1>(sums[1], first * 4);
    if (C == 2) tile_store<2>(sums[2], others * 4);
    if (R == 2 && C == 2) tile_store<3>(sums[3], others * 4);
    transpose_into(sums[0], first, height, local);
    if (R == 2) transpose_into(sums[1], first, height - TILE, local + TILE);
    if (C == 2) transpose_into(sums[2], others, height, local + TILE * tile_side);
    if (R == 2 && C == 2) transpose_into(sums[3], others, height - TILE, local + TILE * tile_side + TILE);
    write_tile(local, tile_side, rows.here(c), height, g, c * stored_chunk, i, false);
  }
  // Initializes a tile of sums with the outputs' biases.
  template <int T, int R> void begin(int64_t i, int64_t height, float (&sums)[4][TILE * TILE]) const {
    if (!g.bias) return tile_zero<T>();
    for (int64_t o = 0; o < min_of<int64_t>(TILE, height - R * TILE); ++o)
      store(sums[T] + o * TILE, set1(load_any(g.bias, g.bias_type, i + R * TILE + o)));
    tile_load<T>(sums[T], tile_row_bytes);
  }
  // Transposes sums (outputs, rows of x) to (rows, outputs), with rows tile_side floats apart.
  static void transpose_into(const float* sums, int64_t rows, int64_t outputs, float* to) {
    F r[TILE];
#pragma GCC unroll 16
    for (int64_t o = 0; o < TILE; ++o) r[o] = o < outputs ? load_n(sums + o * rows, static_cast<int>(rows)) : zero();
    transpose(r);
#pragma GCC unroll 16
    for (int64_t i = 0; i < TILE; ++i)
      if (i < rows) store(to + i * tile_side, r[i]);
  }
};

// Multiplies one x by several weights. All products must satisfy can_use_stored_tiles. With few threads, or a single
// chunk, each thread packs all of x for itself, as in tile_stream-inl.h. Otherwise each packs a part.
inline void stored_tiles(const Gemm* products, int count, Pool& pool, void* scratch) {
  const Gemm& x = products[0];
  const StoredRows rows{x.m};
  const int64_t steps = x.k / tile_depth, x_floats = steps * TILE * rows.all() + TILE, threads = pool.threads();
  const bool together = rows.chunks() > 1 && threads > own_threads;
  const auto pack = [&](int64_t tile, float* columns) {
    const int64_t r = tile * TILE, here = min_of<int64_t>(TILE, x.m - r);
    pack_stored_columns(
        static_cast<const bf16*>(x.a) + r * x.lda, x.lda, here, rows.columns(here), steps, columns + steps * TILE * r);
  };
  const int64_t row_tiles = ceil_div(x.m, TILE);
  if (together) pool.run(row_tiles, [&](int64_t tile, int) { pack(tile, static_cast<float*>(scratch)); });
  PackedFlags has_x(threads, together);
  const auto tasks_of = [&](const Gemm& g) {
    return stream_tasks_of(ceil_div(g.n, tile_side), tile_side * g.k * 2, threads);
  };
  run_joined(
      pool, count, [&](int i) { return tasks_of(products[i]); }, [&](int i, int64_t task, int64_t tasks, int thread) {
    float* columns = static_cast<float*>(scratch) + (together ? 0 : thread * x_floats);
    if (bool& has = has_x[thread]; !has) {
      for (int64_t tile = 0; tile < row_tiles; ++tile) pack(tile, columns);
      has = true;
    }
    const Gemm& g = products[i];
    const int64_t blocks = ceil_div(g.n, tile_side);
    StoredTiles{g, columns}.run(
        blocks * task / tasks * tile_side, min_of(g.n, blocks * (task + 1) / tasks * tile_side));
  });
}
#endif

}  // namespace HEDDLE_ISA
}  // namespace heddle
