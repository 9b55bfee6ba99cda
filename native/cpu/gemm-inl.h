// c = a b, blocked and packed: chunks of c whose operands fit the outer cache, k in steps of KC. Few threads take bands of
// a chunk and pack what they multiply; many pack both operands together, then take tiles. One register tile is computed
// by one thread in a fixed order, so the result depends neither on that nor on the number of threads.
#pragma once
#include "cpu/gemv-inl.h"
#include "cpu/micro-inl.h"
#include "cpu/pack-inl.h"
#include "cpu/pairs_packed-inl.h"
#include "cpu/shallow-inl.h"
#include "cpu/thin-inl.h"
#include "cpu/write_tile-inl.h"

namespace heddle {
namespace HEDDLE_ISA {

#if defined(HEDDLE_SIMD_AVX512)
constexpr int64_t KC = 512;
constexpr int64_t tile_rows = 168 / MR * MR, tile_columns = 8 * NR;  // both (tile x KC) in L2: 336 + 512 KiB
#else
constexpr int64_t KC = 256;
constexpr int64_t tile_rows = 224 / MR * MR, tile_columns = 16 * NR;
#endif
constexpr int64_t chunk_rows = 8 * tile_rows, chunk_columns = 8 * tile_columns;
constexpr int64_t align_floats = 16;
// Threads up to which each packs the shorter operand for itself: a line that one core wrote and another read is slow to
// write again (measured 7 ns; 30 where the cores lie on different dies), as the next product would.
constexpr int own_threads = 4;
static_assert(MR <= NR, "what is enough bands of rows is enough of columns: a copy is never of the longer operand");

// How one product is cut: a pure function of its shape.
struct GemmPlan {
  int64_t rows, columns, kc;  // of a chunk, of a k step
  int64_t a_floats, b_floats, bias_floats, c_floats;
  int64_t own_floats;  // a copy of the shorter operand, for one thread
  size_t bytes(int threads) const {
    const int64_t own = threads <= own_threads ? (threads - 1) * own_floats : 0;
    return sizeof(float) * static_cast<size_t>(a_floats + b_floats + bias_floats + c_floats + own);
  }
};
inline GemmPlan plan_gemm(int64_t m, int64_t n, int64_t k) {
  GemmPlan p;
  int64_t steps = max_of<int64_t>(1, ceil_div(k, KC));
  p.kc = round_up(max_of<int64_t>(1, ceil_div(k, steps)), 2);
  p.rows = min_of(round_up(m, MR), chunk_rows);
  p.columns = min_of(round_up(n, NR), chunk_columns);
  // Sized by the bound of kc, which does not fall as k grows: a plan for upper bounds covers every smaller shape.
  int64_t bound = min_of(round_up(max_of<int64_t>(1, k), 2), KC);
  p.a_floats = round_up(p.rows * bound, align_floats);
  p.b_floats = round_up(p.columns * bound, align_floats);
  p.own_floats = round_up((round_up(min_of(p.rows, p.columns), NR) + NR) * bound, align_floats);
  p.bias_floats = round_up(n, NR) + align_floats;
  p.c_floats = steps > 1 ? p.rows * p.columns : 0;  // only for an output that cannot hold partial sums
  return p;
}

inline size_t gemm_scratch(int64_t m, int64_t n, int64_t k, int threads) {
  size_t direct = max_of(packed_pair_scratch(m, k), gemv_scratch(min_of<int64_t>(max_of(m, n), gemv_rows), k));
  size_t blocked = plan_gemm(m, n, k).bytes(threads), turned = plan_gemm(min_of<int64_t>(n, MR), m, k).bytes(threads);
  return max_of(max_of(direct, thin_scratch(m, n, k)), max_of(blocked, turned));
}

// Whether a product runs on pairs of bf16: twice the rate, the same f32 sums.
inline bool on_pairs(const Gemm& g) {
#if defined(HEDDLE_SIMD_BF16)
  return g.a_type == DType::bf16 && g.b_type == DType::bf16;
#else
  return false && g.m;
#endif
}
template <int P>
inline void pack_operand(bool pairs, const void* src, DType type, int64_t ld, bool strided, int64_t line, int64_t p, int64_t lines, int64_t k, float* dst) {
#if defined(HEDDLE_SIMD_BF16)
  if (pairs) return pack_pair_panel<P>(src, ld, strided, line, p, lines, k, dst);
#else
  (void)pairs;
#endif
  pack_panel<P>(src, type, ld, strided, line, p, lines, k, dst);
}

// Neighbouring panels, the lines [line, line + lines) of the operand. Where a line's elements lie ld apart, panels are
// narrower than cache lines: all of them take a few k at a time, so that what one leaves of a cache line the next finds.
constexpr int64_t pack_group = 8, pack_depth = 32;
template <int P>
inline void pack_panels(bool pairs, const void* src, DType type, int64_t ld, bool strided, int64_t line, int64_t p, int64_t lines, int64_t k, int64_t depth, float* dst) {
  int64_t step = strided ? pack_depth : k;
  for (int64_t q = 0; q < k; q += step)
    for (int64_t i = 0; i < lines; i += P)
      pack_operand<P>(pairs, src, type, ld, strided, line + i, p + q, lines - i, min_of(step, k - q), dst + i * depth + (pairs ? q / 2 : q) * P);
}

struct GemmStep {
  const Gemm& g;
  int64_t i0, j0, rows, columns;  // the chunk at hand
  int64_t depth;                  // floats of a packed line in this k step: k, or pairs of k
  bool pairs, first, last;
  const float *a, *b, *bias;
  const float* in_place;          // this step's b where it lies: whole panels of it are read there; null: all are packed
  const float* panels;            // this step's part of the first of b's panels where they are kept; null: they are packed
  float* sums;  // (rows, columns) partial sums of a bf16 output, stride `columns` rounded up to NR
};

HEDDLE_SIMD MicroTile tile_for(bool pairs, int64_t rows) {
#if defined(HEDDLE_SIMD_BF16)
  if (pairs) return micro_tile_for<true, true>(rows);
#else
  (void)pairs;
#endif
  return micro_tile_for<true>(rows);
}

// One register tile of the chunk, at row i (a multiple of MR) and column j (of NR).
HEDDLE_SIMD void gemm_register_tile(const GemmStep& s, int64_t i, int64_t j, MicroTile tile) {
  const Gemm& g = s.g;
  int64_t height = min_of<int64_t>(MR, s.rows - i), width = min_of<int64_t>(NR, s.columns - j);
  const bool in_place = s.in_place && width == NR;
  const float *a = s.a + i * s.depth, *b = in_place ? s.in_place + s.j0 + j : s.b + j * s.depth;
  if (s.panels) b = s.panels + (s.j0 + j) / NR * pair_panel_floats(g.k);
  const int64_t bs = in_place ? g.ldb : NR;
  const float* bias = s.first && s.bias ? s.bias + s.j0 + j : nullptr;
  bool direct = g.c_type == DType::f32;
  if (direct && width == NR && !g.c_transposed) {
    float* c = static_cast<float*>(g.c) + (s.i0 + i) * g.ldc + s.j0 + j;
    return tile(s.depth, a, MR, b, bs, c, g.ldc, bias, g.accumulate || !s.first);
  }
  alignas(64) float local[MR * NR];
  if (direct || (s.first && s.last)) {
    tile(s.depth, a, MR, b, bs, local, NR, bias, false);
    write_tile(local, NR, height, width, g, s.i0 + i, s.j0 + j, g.accumulate || !s.first);
  } else {
    int64_t stride = round_up(s.columns, NR);
    float* sums = s.sums + i * stride + j;
    tile(s.depth, a, MR, b, bs, sums, stride, bias, !s.first);
    if (s.last) write_tile(sums, stride, height, width, g, s.i0 + i, s.j0 + j, false);
  }
}

// The tile [i, i + rows) x [j, j + columns) of the chunk.
inline void gemm_tile(const GemmStep& s, int64_t i, int64_t j, int64_t rows, int64_t columns) {
  auto tile_at = [&](int64_t ii) { return tile_for(s.pairs, min_of<int64_t>(MR, s.rows - ii)); };
  if (a_stays) {
    for (int64_t ii = i; ii < i + rows; ii += MR) {
      MicroTile tile = tile_at(ii);
      for (int64_t jj = j; jj < j + columns; jj += NR) gemm_register_tile(s, ii, jj, tile);
    }
  } else {
    for (int64_t jj = j; jj < j + columns; jj += NR)
      for (int64_t ii = i; ii < i + rows; ii += MR) gemm_register_tile(s, ii, jj, tile_at(ii));
  }
}

// How `extent` is cut into bands: as many for every thread, of nearly the same length; none where there is not enough of it.
struct Bands {
  int64_t units = 0, count = 0;
  Bands(int64_t extent, int64_t unit, int64_t most, int threads) {
    if (threads > own_threads || ceil_div(extent, unit) < 3 * threads) return;
    units = ceil_div(extent, unit);
    const int64_t each = ceil_div(units, threads);  // in two bands or more, that one may help another, but not in slivers
    count = threads * max_of(ceil_div(each, most / unit), max_of<int64_t>(1, min_of<int64_t>(2, each / 4)));
  }
  int64_t begin(int64_t band, int64_t unit) const { return units * band / count * unit; }
};

// One chunk and step along k: packs what is not there, and multiplies.
struct GemmChunk {
  GemmStep step;
  Pool& pool;
  int64_t p0, k;
  int64_t b_first;  // the first panel of b that is packed; those before lie as they are needed
  float *a, *b;     // packed panels of the chunk

  void pack_a(int64_t i, int64_t end, float* to) const {
    const Gemm& g = step.g;
    pack_panels<MR>(step.pairs, g.a, g.a_type, g.lda, g.a_transposed, step.i0 + i, p0, min_of(end, step.rows) - i, k, step.depth, to + i * step.depth);
  }
  void pack_b(int64_t j, int64_t end, float* to) const {
    const Gemm& g = step.g;
    j = max_of(j, b_first * NR), end = min_of(end, step.columns);
    if (j < end) pack_panels<NR>(step.pairs, g.b, g.b_type, g.ldb, !g.b_transposed, step.j0 + j, p0, end - j, k, step.depth, to + j * step.depth);
  }

  void alone(bool b_there) const {
    if (!b_there) pack_b(0, step.columns, b);
    pack_a(0, step.rows, a);
    gemm_tile(step, 0, 0, step.rows, step.columns);
  }

  // Bands of rows: a thread packs each of its own, and all of b for itself, unless that is there.
  void bands_of_rows(const Bands& bands, bool b_there, float* own, int64_t own_floats, bool* ready) const {
    pool.run(bands.count, [&](int64_t t, int thread) {
      const int64_t i = bands.begin(t, MR), end = min_of(bands.begin(t + 1, MR), step.rows);
      GemmStep mine = step;
      if (!b_there) {
        float* copy = thread ? own + (thread - 1) * own_floats : b;
        if (!ready[thread]) pack_b(0, step.columns, copy), ready[thread] = true;
        mine.b = copy;
      }
      pack_a(i, end, a);
      for (int64_t j = 0; j < step.columns; j += tile_columns) gemm_tile(mine, i, j, end - i, min_of(tile_columns, step.columns - j));
    });
  }
  // Bands of columns: a thread packs each of its own, unless all are there, and all of a for itself.
  void bands_of_columns(const Bands& bands, bool b_there, float* own, int64_t own_floats) const {
    bool ready[own_threads] = {};
    pool.run(bands.count, [&](int64_t t, int thread) {
      const int64_t j = bands.begin(t, NR), end = min_of(bands.begin(t + 1, NR), step.columns);
      GemmStep mine = step;
      float* copy = thread ? own + (thread - 1) * own_floats : a;
      if (!ready[thread]) pack_a(0, step.rows, copy), ready[thread] = true;
      mine.a = copy;
      if (!b_there) pack_b(j, end, b);
      for (int64_t i = 0; i < step.rows; i += tile_rows) gemm_tile(mine, i, j, min_of(tile_rows, step.rows - i), end - j);
    });
  }
  // Both operands packed by all threads, then tiles.
  void tiles(bool b_there) const {
    const int64_t a_groups = ceil_div(step.rows, pack_group * MR);
    const int64_t b_groups = b_there ? 0 : ceil_div(step.columns - b_first * NR, pack_group * NR), groups = a_groups + b_groups;
    // Both side by side: of either a thread packs what it multiplies by below (Pool gives it one stretch of the tasks).
    pool.run(groups, [&](int64_t t, int) {
      const int64_t before = t * a_groups / groups;
      const bool of_b = (t + 1) * a_groups / groups == before;
      const int64_t at = of_b ? b_first * NR + (t - before) * pack_group * NR : before * pack_group * MR;
      of_b ? pack_b(at, at + pack_group * NR, b) : pack_a(at, at + pack_group * MR, a);
    });
    int64_t tr = tile_rows, tc = tile_columns;
    const int64_t wanted = 6 * pool.threads();
    while (ceil_div(step.rows, tr) * ceil_div(step.columns, tc) < wanted && (tr > 4 * MR || tc > 4 * NR))
      if (tc >= tr && tc > 4 * NR) tc /= 2;
      else tr = round_up(tr / 2, MR);
    const int64_t down = ceil_div(step.rows, tr), across = ceil_div(step.columns, tc);
    const bool by_rows = step.rows > step.columns;
    pool.run(down * across, [&](int64_t t, int) {
      const int64_t i = (by_rows ? t / across : t % down) * tr, j = (by_rows ? t % across : t / down) * tc;
      gemm_tile(step, i, j, min_of(tr, step.rows - i), min_of(tc, step.columns - j));
    });
  }
};

inline void gemm_blocked(const Gemm& g, Pool& pool, void* scratch) {
  GemmPlan plan = plan_gemm(g.m, g.n, g.k);
  float* a = static_cast<float*>(scratch);
  float* b = a + plan.a_floats;
  float* bias = b + plan.b_floats;
  float* sums = bias + plan.bias_floats;
  float* own = sums + plan.c_floats;
  if (g.bias) {
    for (int64_t j = 0; j < g.n; ++j) bias[j] = load_any(g.bias, g.bias_type, j);
    for (int64_t j = g.n; j < round_up(g.n, NR); ++j) bias[j] = 0;
  }
  bool pairs = on_pairs(g);
  int64_t kc = pairs ? 2 * plan.kc : plan.kc;
  for (int64_t j0 = 0; j0 < g.n; j0 += plan.columns) {
    const int64_t columns = min_of(plan.columns, g.n - j0);
    bool b_packed = false, b_own[own_threads] = {};  // b stays packed while chunks of rows pass: all of it, or each thread's
    for (int64_t i0 = 0; i0 < g.m; i0 += plan.rows) {
      const int64_t rows = min_of(plan.rows, g.m - i0);
      for (int64_t p0 = 0; p0 < g.k || p0 == 0; p0 += kc) {
        const int64_t k = min_of(kc, g.k - p0), depth = pairs ? ceil_div(k, 2) : k;
        if (kc < g.k) {
          b_packed = false;
          for (bool& ready : b_own) ready = false;
        }
        // Read by one panel of rows alone, b is not worth packing where its rows are vectors already.
        const bool lies = g.m <= MR && !g.b_transposed && !pairs && g.b_type == DType::f32;
        const float* in_place = lies ? static_cast<const float*>(g.b) + p0 * g.ldb : nullptr;
        const float* panels = g.b_packed && pairs ? static_cast<const float*>(g.b_packed) + p0 / 2 * NR : nullptr;
        GemmStep step{g, i0, j0, rows, columns, depth, pairs, p0 == 0, p0 + k >= g.k, a, b, g.bias ? bias : nullptr, in_place, panels, sums};
        const GemmChunk chunk{step, pool, p0, k, lies ? columns / NR : 0, a, b};
        const bool b_there = panels || b_packed;
        const Bands down(rows, MR, tile_rows, pool.threads()), across(columns, NR, tile_columns, pool.threads());
        // Small products are not worth waking the others.
        if (static_cast<double>(rows) * static_cast<double>(columns) * static_cast<double>(k) < 64e3) {
          chunk.alone(b_there);
        } else if (down.count && (b_there || rows > columns)) {
          chunk.bands_of_rows(down, b_there, own, plan.own_floats, b_own);
          continue;
        } else if (across.count && (b_there || rows <= columns)) {
          chunk.bands_of_columns(across, b_there, own, plan.own_floats);
        } else {
          chunk.tiles(b_there);
        }
        b_packed = true;
      }
    }
  }
}

// c^T = b^T a^T.
inline Gemm turned(const Gemm& g) {
  Gemm t = g;
  t.m = g.n, t.n = g.m, t.c_transposed = !g.c_transposed;
  t.a = g.b, t.a_type = g.b_type, t.lda = g.ldb, t.a_transposed = !g.b_transposed;
  t.b = g.a, t.b_type = g.a_type, t.ldb = g.lda, t.b_transposed = !g.a_transposed;
  return t;
}

inline bool skinny(const Gemm& g) {
  if (g.a_transposed || g.accumulate) return false;
  return g.m <= (!g.b_transposed ? gemv_axpy_rows : on_pairs(g) ? gemv_pair_rows : gemv_rows);
}

// Whether b's panels of pairs are kept, or will be.
inline bool by_panels(const Gemm& g) { return on_pairs(g) && (g.b_packed || g.b_unpacked); }

// The product in slices of rows, each as if it were alone.
inline void gemm_rowwise(Gemm g, Pool& pool, void* scratch) {
  const int64_t rows = g.m, slice = by_panels(g) ? packed_pair_rows : g.b_transposed ? gemv_rows : gemv_axpy_rows;
  const char* a = static_cast<const char*>(g.a);
  char* c = static_cast<char*>(g.c);
  for (int64_t i = 0; i < rows; i += slice) {
    g.m = min_of(slice, rows - i);
    g.a = a + i * g.lda * static_cast<int64_t>(dtype_bytes(g.a_type));
    g.c = c + i * g.ldc * static_cast<int64_t>(dtype_bytes(g.c_type));
    by_panels(g) ? packed_pair_products(&g, 1, pool, scratch) : gemv(g, pool, scratch);
  }
}

inline void gemm(const Gemm& g, Pool& pool, void* scratch) {
  if (g.m == 0 || g.n == 0) return;
  if (g.rowwise) return gemm_rowwise(g, pool, scratch);
  if (by_panels(g)) return g.m <= packed_pair_rows ? packed_pair_products(&g, 1, pool, scratch) : gemm_blocked(g, pool, scratch);
  if (thin(g)) return gemm_thin(g, pool, scratch);
  if (const Gemm t = turned(g); thin(t)) return gemm_thin(t, pool, scratch);
  if (skinny(g)) return gemv(g, pool, scratch);
  if (shallow(g)) {
    const GemmPlan plan = plan_gemm(g.m, g.n, g.k);
    return gemm_shallow(g, pool, static_cast<float*>(scratch), plan.columns);
  }
  // Few columns (the low-rank products of LoRA) fill a register tile's rows, but not its vectors: they become rows.
  if (!g.bias && g.n < g.m && g.n <= gemv_rows) {
    const Gemm t = turned(g);
    if (t.b_transposed && !t.accumulate) return gemv(t, pool, scratch);
    if (t.m <= MR) return gemm_blocked(t, pool, scratch);
  }
  gemm_blocked(g, pool, scratch);
}

// Whether adding a product to its output costs less than a product and a sum, and in f32 gives the same bits: one step along k.
inline bool gemm_adds(const Gemm& g) {
  return g.k <= KC && g.m > gemv_rows && g.n > gemv_rows && !g.rowwise && !g.c_transposed && !thin(g);
}

// Several b by one a: those that are read once through are read in one loop of the pool.
inline void gemms(const Gemm* g, int count, Pool& pool, void* scratch) {
#if defined(HEDDLE_SIMD_BF16)
  const auto streamed = [](const Gemm& p) { return p.m > 0 && p.n > 0 && !p.rowwise && on_pairs(p) && p.b_transposed; };
  bool all = count > 1, panels = count > 1;
  for (int i = 0; i < count; ++i) {
    all = all && streamed(g[i]) && !by_panels(g[i]) && skinny(g[i]);
    panels = panels && streamed(g[i]) && by_panels(g[i]) && g[i].m <= packed_pair_rows;
  }
  if (all) return gemv_pairs(g, count, pool, scratch);
  if (panels) return packed_pair_products(g, count, pool, scratch);
#endif
  for (int i = 0; i < count; ++i) gemm(g[i], pool, scratch);
}

}  // namespace HEDDLE_ISA
}  // namespace heddle
