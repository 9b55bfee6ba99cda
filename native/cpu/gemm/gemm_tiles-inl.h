// c = a b in bf16 on AMX tiles. Four tiles of c, 32 rows by 32 columns, stay in registers while k runs in steps of 32.
// The bandwidth of L1 and L2 is the limit. k is therefore split into parts: a panel of a stays in L1 while a band of
// b's panels streams from L2. Partial sums between parts are stored next to the band. If a long k would make bands too
// narrow, a layer of several parts is packed at a time. A task is a block of rows times a band. A tile is computed in a
// fixed order that depends on k only.
#pragma once
#include "cpu/gemm/gemm_chunk-inl.h"
#include "cpu/gemm/pack_tiles-inl.h"

namespace heddle {
namespace HEDDLE_ISA {

#if defined(HEDDLE_SIMD_AMX)
constexpr int64_t part_steps = 10;   // maximum steps of a part, which fill 20 of L1's 48 KiB
constexpr int64_t layer_steps = 40;  // maximum steps of a layer
constexpr int64_t layer_rows = 16;   // maximum row panels of a task that keeps sums between layers
// Size of a band of b's panels, which stays in an L2 of 2 MiB. For few row panels, as in blocks of a prompt, bands are
// narrow. Threads then finish together, and some multiply while others wait for memory. a is packed once for all bands.
constexpr int64_t band_floats = 1 << 18, narrow_floats = 1 << 16, narrow_columns = 8, narrow_rows = 10;

// Data to prefetch into L2 while tiles are multiplied: `rows` rows of 64 bytes per step. The strides of rows and steps,
// `row` and `step`, are in bytes. The struct is passed by reference. A copy would be one wide load of fields that were
// just written one by one. Such a load cannot be forwarded from the store buffer, and would wait for earlier tile
// stores.
struct Prefetch {
  const char* at = nullptr;
  int64_t rows = 0, row = 0, step = 0;
};

// Stores the sums of a tile row as bf16. two_to_bf16 would flush subnormals, but AMX has already flushed them in its
// sums.
HEDDLE_SIMD void store_tile_row(bf16* p, F v, F next) {
#if defined(HEDDLE_EMULATE_AVX512)
  store(p, v), store(p + W, next);
#else
  _mm512_storeu_si512(p, two_to_bf16(v, next));
#endif
}

// to (R * TILE, 32) = from + a b. R: number of row tiles. Steps of a are a_step apart. from_stride 0: every row starts
// with the same bias. from null: rows start with zero. `tail`: b of the last step, if it is padded. Strides are in
// floats. `later`: the sums that are needed next, prefetched into L1.
template <int R>
[[gnu::noinline]] void four_tiles(const Prefetch& prefetch, const float* later, int64_t steps, const float* a,
    int64_t a_step, const float* b, const float* tail, const float* from, int64_t from_stride, float* to,
    int64_t to_stride) {
  constexpr int64_t bytes = tile_row_bytes;
  const int64_t lines = prefetch.rows, line = prefetch.row, on = prefetch.step;
  const char* at = prefetch.at;
  if (from) {
    const int64_t stride = from_stride * 4;
    tile_load<0>(from, stride), tile_load<1>(from + TILE, stride);
    if (R == 2) tile_load<2>(from + TILE * from_stride, stride), tile_load<3>(from + TILE * from_stride + TILE, stride);
  } else {
    tile_zero<0>(), tile_zero<1>();
    if (R == 2) tile_zero<2>(), tile_zero<3>();
  }
  if (tail) --steps;
  const auto step = [&]() HEDDLE_INLINE_LAMBDA {
    tile_load<4>(a, bytes), tile_load<6>(b, 2 * bytes);
    tile_dot<0, 4, 6>();
    tile_load<7>(b + TILE, 2 * bytes);
    tile_dot<1, 4, 7>();
    if (R == 2) {
      tile_load<5>(a + TILE * TILE, bytes);
      tile_dot<2, 5, 6>();
      tile_dot<3, 5, 7>();
    }
  };
  for (int64_t s = 0; s < steps; ++s, a += a_step, b += tile_step_floats) {
    step();
    for (int64_t r = 0; r < lines; ++r) __builtin_prefetch(at + r * line, 0, 2);
    at += on;
    if (later) {
#pragma GCC unroll 8
      for (int l = 0; l < 8; ++l) __builtin_prefetch(later + l * TILE, 1, 3);
      later += 8 * TILE;
    }
  }
  if (tail) b = tail, step();
  const int64_t stride = to_stride * 4;
  tile_store<0>(to, stride), tile_store<1>(to + TILE, stride);
  if (R == 2) tile_store<2>(to + TILE * to_stride, stride), tile_store<3>(to + TILE * to_stride + TILE, stride);
}

// Splits a product into tasks: bands of b's panels times blocks of rows. The parts along k depend on k only.
struct TilePlan {
  int64_t steps, layers, row_panels, column_panels;  // counts for the whole product
  int64_t row_blocks = 1, bands = 1;
  bool a_ahead;  // whether all of a is packed first, because many bands use its panels
  // Scratch sizes. Each of `slots` running tasks has a_floats + b_floats + sum_floats. The rest is shared.
  int64_t a_floats, b_floats, sum_floats, bias_floats, ahead_floats, slots;
  TilePlan(const Gemm& g, int threads)
      : steps(ceil_div(g.k, tile_depth)), layers(max_of<int64_t>(1, ceil_div(steps, layer_steps))),
        row_panels(ceil_div(g.m, tile_side)), column_panels(ceil_div(g.n, tile_side)) {
    const int64_t panel = ceil_div(steps, layers) * tile_step_floats, each = max_of<int64_t>(1, panel);
    const int64_t most = row_panels <= narrow_rows ? max_of(narrow_columns, narrow_floats / each)
                                                   : max_of<int64_t>(2, band_floats / each);
    bands = min_of(column_panels, ceil_div(column_panels, most));
    if (layers > 1) row_blocks = ceil_div(row_panels, layer_rows);
    if (!small_product(g.m, g.n, g.k) && threads > 1) {
      bands = min_of(column_panels, round_up(bands, threads));
      while (row_blocks * bands < threads && row_blocks < row_panels) ++row_blocks;
    }
    a_ahead = bands > threads || (threads > own_threads && bands > 1);
    const int64_t columns = ceil_div(column_panels, bands);
    a_floats = a_ahead ? 0 : panel, b_floats = g.b_packed ? 0 : columns * panel;
    sum_floats =
        steps > part_steps ? (layers > 1 ? ceil_div(row_panels, row_blocks) : 1) * columns * tile_side * tile_side : 0;
    bias_floats = column_panels * tile_side, ahead_floats = a_ahead ? row_panels * steps * tile_step_floats : 0;
    slots = min_of<int64_t>(threads, row_blocks * bands);
  }
  int64_t floats() const { return bias_floats + ahead_floats + slots * (a_floats + b_floats + sum_floats); }
};

// Returns an upper bound of the scratch, also for every smaller shape.
inline size_t tile_scratch(int64_t m, int64_t n, int64_t k, int threads) {
  const int64_t columns = ceil_div(n, tile_side), rows = ceil_div(m, tile_side), steps = ceil_div(k, tile_depth),
                panel = min_of(steps, layer_steps) * tile_step_floats;
  // Size of a band: few columns of a long k, or many columns of a short one.
  const int64_t band = min_of(columns * panel, max_of(narrow_columns * panel, band_floats));
  const int64_t widest = min_of(columns, band_floats / tile_step_floats);
  const int64_t sums =
      steps > layer_steps
          ? min_of(rows, layer_rows) *
                min_of(columns, max_of(narrow_columns, 2 * band_floats / (layer_steps * tile_step_floats)))
          : widest;
  return sizeof(float) * static_cast<size_t>(columns * tile_side + rows * steps * tile_step_floats +
                                             threads * (panel + band + max_of(sums, widest) * tile_side * tile_side));
}

// Produces b's panels if b is neither bf16 nor packed. make() writes steps [s0, s0 + steps) of a panel of 32 columns.
struct TileSource {
  const void* from;
  void (*make)(const void* from, int64_t panel, int64_t s0, int64_t steps, float* to);
};

inline void pack_tile_panel(const Gemm& g, int64_t panel, int64_t p, int64_t k, float* to) {
  const int64_t line = panel * tile_side, lines = g.m - line;
  if (g.a_type == DType::f32)
    return pack_tile_rows(static_cast<const float*>(g.a) + line * g.lda + p, g.lda, lines, k, to);
  const bf16* src = static_cast<const bf16*>(g.a);
  if (g.a_transposed) pack_tile_columns(src + p * g.lda + line, g.lda, lines, k, to);
  else pack_tile_rows(src + line * g.lda + p, g.lda, lines, k, to);
}

// One task: a block of row panels times a band of column panels.
struct TileBlock {
  const Gemm& g;
  const TilePlan& plan;
  const TileSource* source;
  const float *ahead, *bias;
  int64_t i0, i1, j0, j1;
  float *a, *b, *sums;

  void pack_b(int64_t p, int64_t k, int64_t steps) const {
    for (int64_t j = j0; source && j < j1; ++j)
      source->make(source->from, j, p / tile_depth, steps, b + (j - j0) * steps * tile_step_floats);
    if (source) return;
    const int64_t line = j0 * tile_side, lines = min_of(g.n, j1 * tile_side) - line, pairs = ceil_div(k, 2),
                  depth = steps * TILE;
    pack_panels<NR>(g.b, g.b_type, g.ldb, !g.b_transposed, line, p, lines, k, depth, b);
    for (int64_t j = 0; pairs < depth && j < j1 - j0; ++j)
      for (int64_t at = pairs * NR; at < depth * NR; at += W) store(b + j * depth * NR + at, zero());
  }

  // Writes a finished tile to c, from row i and column j on.
  void finish(float* tile, int64_t i, int64_t j) const {
    const int64_t height = min_of(tile_side, g.m - i), width = min_of(tile_side, g.n - j);
    if (g.end) return write_activated_tile(tile, tile_side, height, width, g, i, j);
    if (width < tile_side || g.c_type != DType::bf16 || g.c_transposed || g.accumulate)
      return write_tile(tile, tile_side, height, width, g, i, j, g.accumulate);
    bf16* c = static_cast<bf16*>(g.c) + i * g.ldc + j;
    for (int64_t r = 0; r < height; ++r)
      store_tile_row(c + r * g.ldc, load(tile + r * tile_side), load(tile + r * tile_side + W));
  }

  // Returns the share of the next row panel that tile j of the band prefetches.
  Prefetch prefetch(int64_t i, int64_t j, int64_t p) const {
    if (i + 1 >= i1 || ahead) return {};
    const int64_t r0 = tile_side * (j - j0) / (j1 - j0), r1 = tile_side * (j + 1 - j0) / (j1 - j0),
                  line = (i + 1) * tile_side;
    const int64_t size = g.a_type == DType::f32 ? 4 : 2;
    const char* src = static_cast<const char*>(g.a);
    if (g.a_transposed) return {src + ((p + r0) * g.lda + line) * 2, r1 - r0, g.lda * 2, tile_depth * g.lda * 2};
    return {src + ((line + r0) * g.lda + p) * size, r1 - r0, g.lda * size, tile_depth * size};
  }

  void run() const {
    [[maybe_unused]] const Tiles tiles;
    alignas(64) float local[tile_side * tile_side], tail[tile_step_floats];
    for (int64_t l = 0; l < plan.layers; ++l)
      layer(plan.steps * l / plan.layers, plan.steps * (l + 1) / plan.layers, local, tail);
  }

  // Processes steps [s0, s1) of k.
  void layer(int64_t s0, int64_t s1, float* local, float* tail) const {
    const int64_t depth = s1 - s0, p = s0 * tile_depth, k = min_of(g.k - p, depth * tile_depth),
                  parts = max_of<int64_t>(1, ceil_div(depth, part_steps));
    const float* panels = b;
    int64_t panel_floats = depth * tile_step_floats;
    if (g.b_packed)
      panel_floats = pair_panel_floats(g.k),
      panels = static_cast<const float*>(g.b_packed) + j0 * panel_floats + s0 * tile_step_floats;
    else pack_b(p, k, depth);
    for (int64_t i = i0; i < i1; ++i) {
      const int64_t row = i * tile_side, height = min_of(tile_side, g.m - row);
      if (!ahead) pack_tile_panel(g, i, p, k, a);
      const float* own = ahead ? ahead + (i * plan.steps + s0) * tile_step_floats : a;
      for (int64_t part = 0; part < parts; ++part) {
        const int64_t begin = depth * part / parts, steps = depth * (part + 1) / parts - begin;
        const bool first = s0 + begin == 0, last = s0 + begin + steps == plan.steps,
                   cut = last && g.b_packed && g.k % tile_depth;
        float* kept = sums + (plan.layers > 1 ? i - i0 : 0) * (j1 - j0) * tile_side * tile_side;
        for (int64_t j = j0; j < j1; ++j, kept += tile_side * tile_side) {
          const int64_t column = j * tile_side;
          const float* from_b = panels + (j - j0) * panel_floats + begin * tile_step_floats;
          // A packed panel ends with its last pair. The rest of its last step is filled with zeros.
          if (cut) {
            const int64_t pairs = ceil_div(g.k % tile_depth, 2);
            for (int64_t q = 0; q < TILE * NR; q += W)
              store(tail + q, q < pairs * NR ? load(from_b + (steps - 1) * tile_step_floats + q) : zero());
          }
          float* to = last ? local : kept;
          int64_t stride = tile_side;
          const bool direct = last && g.c_type == DType::f32 && !g.c_transposed && !g.accumulate && !g.end &&
                              height % TILE == 0 && column + tile_side <= g.n;
          if (direct) to = static_cast<float*>(g.c) + row * g.ldc + column, stride = g.ldc;
          const auto products = height > TILE ? four_tiles<2> : four_tiles<1>;
          // The first row panel reads b's packed panels from memory, so it prefetches b's next panel. Later row panels
          // prefetch rows of a.
          Prefetch next = prefetch(i, j, p + begin * tile_depth);
          if (g.b_packed && i == i0)
            next = {reinterpret_cast<const char*>(
                        j + 1 < j1 ? from_b + panel_floats : panels + (begin + steps) * tile_step_floats),
                32, 64, tile_step_floats * 4};
          products(next, first || j + 1 == j1 ? nullptr : kept + tile_side * tile_side, steps,
              own + begin * tile_step_floats, tile_step_floats, from_b, cut ? tail : nullptr,
              !first ? kept
              : bias ? bias + column
                     : nullptr,
              first ? 0 : tile_side, to, stride);
          if (last && !direct) finish(local, row, column);
        }
      }
    }
  }
};

inline void gemm_tiles(const Gemm& g, Pool& pool, void* scratch, const TileSource* source = nullptr) {
  const TilePlan plan(g, pool.threads());
  float* bias = static_cast<float*>(scratch);
  if (g.bias)
    for (int64_t j = 0; j < plan.bias_floats; ++j) bias[j] = j < g.n ? load_any(g.bias, g.bias_type, j) : 0;
  float *ahead = bias + plan.bias_floats, *own = ahead + plan.ahead_floats;
  if (plan.a_ahead)
    pool.range(plan.row_panels, 1, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i) pack_tile_panel(g, i, 0, g.k, ahead + i * plan.steps * tile_step_floats);
    });
  const int64_t each = plan.a_floats + plan.b_floats + plan.sum_floats, tasks = plan.row_blocks * plan.bands;
  pool.run(tasks, [&](int64_t t, int thread) {
    const int64_t down = t % plan.row_blocks, across = t / plan.row_blocks;
    float* mine = own + (tasks <= plan.slots ? t : thread) * each;
    const TileBlock block{g, plan, source, plan.a_ahead ? ahead : nullptr, g.bias ? bias : nullptr,
        plan.row_panels * down / plan.row_blocks, plan.row_panels * (down + 1) / plan.row_blocks,
        plan.column_panels * across / plan.bands, plan.column_panels * (across + 1) / plan.bands, mine,
        mine + plan.a_floats, mine + plan.a_floats + plan.b_floats};
    block.run();
  });
}
#endif

}  // namespace HEDDLE_ISA
}  // namespace heddle
