// One chunk of a product in one step along k: packs operands as needed and multiplies them in register tiles.
#pragma once
#include "cpu/gemm/gemm_plan-inl.h"
#include "cpu/gemm/pack-inl.h"
#include "cpu/gemm/pairs_packed-inl.h"
#include "cpu/gemm/write_tile-inl.h"

namespace heddle {
namespace HEDDLE_ISA {

template <int P>
inline void pack_operand(const void* src, [[maybe_unused]] DType type, int64_t ld, bool strided, int64_t line,
    int64_t p, int64_t lines, int64_t k, float* dst, Panels panels) {
#if defined(HEDDLE_SIMD_BF16)
  pack_pair_panel<P>(src, ld, strided, line, p, lines, k, dst, panels);
#else
  pack_panel<P>(src, type, ld, strided, line, p, lines, k, dst, panels);
#endif
}

// Packs lines [line, line + lines) of an operand into panels. Strided operands pack several panels at a time, because
// one row of the source has elements of all their lines.
constexpr int64_t pack_group = 8;
template <int P>
inline void pack_panels(const void* src, DType type, int64_t ld, bool strided, int64_t line, int64_t p, int64_t lines,
    int64_t k, int64_t depth, float* dst) {
  const int64_t group = strided ? pack_group : 1;
  for (int64_t i = 0; i < lines; i += group * P)
    pack_operand<P>(src, type, ld, strided, line + i, p, lines - i, k, dst + i * depth,
        {min_of(group, ceil_div(lines - i, P)), depth * P});
}

struct GemmStep {
  const Gemm& g;
  int64_t i0, j0, rows, columns;  // the current chunk
  // depth: floats of a packed line in this step (k, or pairs of k). part: how many of them a tile adds up at a time.
  int64_t depth, part;
  bool first, last;  // whether this is the first or the last step along k
  const float *a, *b, *bias;
  // b of this step in its stored layout; full panels are read from there. Null: all of b is packed.
  const float* in_place;
  // The first packed panel of b for this step, if b was packed beforehand. Null: this step packs b.
  const float* panels;
  float* sums;     // partial sums, if the output cannot hold them
  int64_t stride;  // row stride of `sums`
};

// Computes a full tile of a bf16 output in its last step along k. Joined steps (part < depth) are added up part by
// part.
HEDDLE_SIMD void round_tile(
    const GemmStep& s, const float* a, const float* b, bf16* c, const float* bias, const float* sums) {
  if (s.part < s.depth) rounding_parts<bf16_pairs>(s.depth, s.part, a, b, c, s.g.ldc, bias);
  else rounding_tile<bf16_pairs, false>(s.depth, a, b, c, s.g.ldc, bias, sums, s.stride);
}

// Computes the last step of a tile with a fused activation. products(to, stride, add) computes the tile's products of
// this step.
template <class Products>
inline void activated_tile(
    const GemmStep& s, int64_t i, int64_t j, int64_t height, int64_t width, const Products& products) {
  alignas(64) float local[MR * NR];
  products(local, NR, false);
  if (!s.first) {
    const Gemm& g = s.g;
    const bool in_c = g.c_type == DType::f32;
    const float* sums =
        in_c ? static_cast<const float*>(g.c) + (s.i0 + i) * g.ldc + s.j0 + j : s.sums + i * s.stride + j;
    const int64_t stride = in_c ? g.ldc : s.stride;
    for (int64_t r = 0; r < height; ++r)
      for (int64_t l = 0; l < width; l += W) {
        const int n = static_cast<int>(min_of<int64_t>(W, width - l));
        float* at = local + r * NR + l;
        store(at, add(load(at), load_n(sums + r * stride + l, n)));
      }
  }
  write_activated_tile(local, NR, height, width, s.g, s.i0 + i, s.j0 + j);
}

// Computes one register tile of the chunk, at row i (a multiple of MR) and column j (of NR).
HEDDLE_SIMD void gemm_register_tile(const GemmStep& s, int64_t i, int64_t j, MicroTile tile) {
  const Gemm& g = s.g;
  int64_t height = min_of<int64_t>(MR, s.rows - i), width = min_of<int64_t>(NR, s.columns - j);
  const bool in_place = s.in_place && width == NR;
  const float *a = s.a + i * s.depth, *b = in_place ? s.in_place + s.j0 + j : s.b + j * s.depth;
  if (s.panels) b = s.panels + (s.j0 + j) / NR * pair_panel_floats(g.k);
  const int64_t bs = in_place ? g.ldb : NR;
  const float* bias = s.first && s.bias ? s.bias + s.j0 + j : nullptr;
  const bool direct = g.c_type == DType::f32;
  const auto products = [&](float* c, int64_t cs, bool add) {
    int64_t p = 0;
    do tile(min_of(s.part, s.depth - p), a + p * MR, MR, b + p * bs, bs, c, cs, p ? nullptr : bias, add || p);
    while ((p += s.part) < s.depth);
  };
  if (g.end && s.last) return activated_tile(s, i, j, height, width, products);
  if (direct && width == NR && !g.c_transposed)
    return products(static_cast<float*>(g.c) + (s.i0 + i) * g.ldc + s.j0 + j, g.ldc, g.accumulate || !s.first);
  if (!direct && s.last && height == MR && width == NR && bs == NR && !g.c_transposed && !(s.first && g.accumulate)) {
    bf16* c = static_cast<bf16*>(g.c) + (s.i0 + i) * g.ldc + s.j0 + j;
    const float* sums = s.first ? nullptr : s.sums + i * s.stride + j;
    return round_tile(s, a, b, c, bias, sums);
  }
  alignas(64) float local[MR * NR];
  if (direct || (s.first && s.last)) {
    products(local, NR, false);
    write_tile(local, NR, height, width, g, s.i0 + i, s.j0 + j, g.accumulate || !s.first);
  } else {
    float* sums = s.sums + i * s.stride + j;
    products(sums, s.stride, !s.first);
    if (s.last) write_tile(sums, s.stride, height, width, g, s.i0 + i, s.j0 + j, false);
  }
}

// Computes the tile [i, i + rows) x [j, j + columns) of the chunk.
inline void gemm_tile(const GemmStep& s, int64_t i, int64_t j, int64_t rows, int64_t columns) {
  auto tile_at = [&](int64_t ii) { return micro_tile_for<true, bf16_pairs>(min_of<int64_t>(MR, s.rows - ii)); };
  if (a_in_l1) {
    for (int64_t ii = i; ii < i + rows; ii += MR) {
      MicroTile tile = tile_at(ii);
      for (int64_t jj = j; jj < j + columns; jj += NR) gemm_register_tile(s, ii, jj, tile);
    }
  } else {
    for (int64_t jj = j; jj < j + columns; jj += NR)
      for (int64_t ii = i; ii < i + rows; ii += MR) gemm_register_tile(s, ii, jj, tile_at(ii));
  }
}

// One chunk and step along k: packs missing panels and multiplies.
struct GemmChunk {
  GemmStep step;
  Pool& pool;
  int64_t p0, k;
  int64_t b_first;  // first panel of b that is packed; earlier ones are read in place
  // Buffers for packed panels: shared by all threads, or the first thread's if each thread packs for itself.
  float *a, *b;
  int64_t a_stride, b_stride;  // distance to the next thread's buffer

  // Packs the panels of rows [i, end), or columns [j, end). `to` is the place of the first of them.
  void pack_a(int64_t i, int64_t end, float* to) const {
    const Gemm& g = step.g;
    pack_panels<MR>(
        g.a, g.a_type, g.lda, g.a_transposed, step.i0 + i, p0, min_of(end, step.rows) - i, k, step.depth, to);
  }
  void pack_b(int64_t j, int64_t end, float* to) const {
    const Gemm& g = step.g;
    const int64_t from = max_of(j, b_first * NR);
    end = min_of(end, step.columns);
    if (from < end)
      pack_panels<NR>(g.b, g.b_type, g.ldb, !g.b_transposed, step.j0 + from, p0, end - from, k, step.depth,
          to + (from - j) * step.depth);
  }

  // The calling thread packs and multiplies the whole chunk. `b_there`: b is packed already.
  void alone(bool b_there) const {
    if (!b_there) pack_b(0, step.columns, b);
    pack_a(0, step.rows, a);
    gemm_tile(step, 0, 0, step.rows, step.columns);
  }

  // Splits the rows into bands. A thread packs each of its bands, and all of b for itself unless b is packed already.
  void bands_of_rows(bool b_there) const {
    const int64_t max_columns = tile_lines(tile_columns, NR, step.depth);
    const Bands bands(step.rows, MR, tile_lines(tile_rows, MR, step.depth), pool.threads());
    bool ready[own_threads] = {};
    pool.run(bands.count, [&](int64_t t, int thread) {
      const int64_t i = bands.begin(t), end = min_of(bands.begin(t + 1), step.rows);
      GemmStep mine = step;
      mine.b = b + thread * b_stride;
      if (!b_there && !ready[thread]) pack_b(0, step.columns, b + thread * b_stride), ready[thread] = true;
      float* band = a + thread * a_stride;
      pack_a(i, end, band);
      mine.a = band, mine.i0 += i, mine.rows = end - i, mine.sums += i * step.stride;
      for (int64_t j = 0; j < step.columns; j += max_columns)
        gemm_tile(mine, 0, j, mine.rows, min_of(max_columns, step.columns - j));
    });
  }
  // Splits the columns into bands. A thread packs each of its bands unless b is packed already, and all of a for
  // itself.
  void bands_of_columns(bool b_there) const {
    const int64_t most_rows = tile_lines(tile_rows, MR, step.depth);
    const Bands bands(step.columns, NR, tile_lines(tile_columns, NR, step.depth), pool.threads());
    bool ready[own_threads] = {};
    pool.run(bands.count, [&](int64_t t, int thread) {
      const int64_t j = bands.begin(t), end = min_of(bands.begin(t + 1), step.columns);
      GemmStep mine = step;
      mine.a = a + thread * a_stride;
      if (!ready[thread]) pack_a(0, step.rows, a + thread * a_stride), ready[thread] = true;
      float* band = b + thread * b_stride;
      if (!b_there) pack_b(j, end, band);
      mine.b = band, mine.j0 += j, mine.columns = end - j, mine.sums += j;
      for (int64_t i = 0; i < step.rows; i += most_rows)
        gemm_tile(mine, i, 0, min_of(most_rows, step.rows - i), mine.columns);
    });
  }
  // All threads pack both operands together and then multiply tiles.
  void tiles(bool b_there) const {
    const int64_t a_groups = ceil_div(step.rows, pack_group * MR);
    const int64_t b_groups = b_there ? 0 : ceil_div(step.columns - b_first * NR, pack_group * NR),
                  groups = a_groups + b_groups;
    // One loop packs both operands. Each thread packs about what it multiplies below, because Pool gives it a
    // contiguous range of tasks.
    pool.run(groups, [&](int64_t t, int) {
      const int64_t before = t * a_groups / groups;
      const bool of_b = (t + 1) * a_groups / groups == before;
      const int64_t at = of_b ? b_first * NR + (t - before) * pack_group * NR : before * pack_group * MR;
      of_b ? pack_b(at, at + pack_group * NR, b + at * step.depth)
           : pack_a(at, at + pack_group * MR, a + at * step.depth);
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

}  // namespace HEDDLE_ISA
}  // namespace heddle
