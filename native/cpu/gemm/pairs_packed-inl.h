// bf16 weights that are packed once, as the panels that the register tile reads (micro-inl.h). A panel has NR outputs.
// Each 32-bit lane holds a pair of neighboring elements of one output. Products of many rows then need no packing.
// With few rows (decoding), sums stay in lanes and need no horizontal reduction. A row's pairs are added up in one
// fixed order, so its bits do not depend on the other rows.
#pragma once
#include "cpu/gemm/gemv_pairs-inl.h"
#include "cpu/gemm/micro-inl.h"
#include "cpu/gemm/pack-inl.h"

namespace heddle {
namespace HEDDLE_ISA {

constexpr int64_t packed_pair_rows = 32;  // maximum rows of x; gemm_blocked takes more
inline int64_t pair_panel_floats(int64_t k) { return ceil_div(k, 2) * NR; }

#if defined(HEDDLE_SIMD_BF16)

inline size_t pairs_packed_bytes(int64_t n, int64_t k) {
  return static_cast<size_t>(ceil_div(n, NR) * pair_panel_floats(k)) * sizeof(float);
}
inline void pack_pair_panel_of(const Gemm& g, int64_t panel, float* to) {
  pack_pair_rows<NR>(static_cast<const bf16*>(g.b) + panel * NR * g.ldb, g.ldb, g.n - panel * NR, g.k, to);
}
// Packs panels [begin, end) of the packed weight at `to`.
inline void pairs_pack(const Gemm& g, void* to, int64_t begin, int64_t end, Pool& pool) {
  pool.range(end - begin, 2, [&](int64_t p0, int64_t p1, int) {
    for (int64_t panel = begin + p0; panel < begin + p1; ++panel)
      pack_pair_panel_of(g, panel, static_cast<float*>(to) + panel * pair_panel_floats(g.k));
  });
}

// RM rows of pairs (stride xs) times PN panels, each at its own address. Adds to sums (PN, RM, NR). `first`: the sums
// start at zero.
template <int RM, int PN>
[[gnu::noinline]] void packed_pair_tile(
    int64_t pairs, const float* x, int64_t xs, const float* const* panels, bool first, float* sums) {
  constexpr int64_t ahead = 6144 / sizeof(float) / PN;  // prefetch distance in floats: 6 KiB over all panels
  F acc[PN][RM][2];
  const float* at[PN];
#pragma GCC unroll 4
  for (int n = 0; n < PN; ++n) {
    at[n] = panels[n];
#pragma GCC unroll 8
    for (int m = 0; m < RM; ++m)
#pragma GCC unroll 2
      for (int h = 0; h < 2; ++h) acc[n][m][h] = first ? zero() : load(sums + (n * RM + m) * NR + h * W);
  }
#pragma GCC unroll 1
  for (int64_t p = 0; p < pairs; ++p) {
#pragma GCC unroll 4
    for (int n = 0; n < PN; ++n) {
      fetch_stream(at[n] + ahead);
      if (W * sizeof(float) >= 64) fetch_stream(at[n] + ahead + W);
      const F w0 = load(at[n]), w1 = load(at[n] + W);
#pragma GCC unroll 8
      for (int m = 0; m < RM; ++m) {
        const F pair = set1(x[m * xs + p]);
        acc[n][m][0] = dot_pairs(pair, w0, acc[n][m][0]);
        acc[n][m][1] = dot_pairs(pair, w1, acc[n][m][1]);
      }
      at[n] += NR;
    }
  }
#pragma GCC unroll 4
  for (int n = 0; n < PN; ++n)
#pragma GCC unroll 8
    for (int m = 0; m < RM; ++m)
#pragma GCC unroll 2
      for (int h = 0; h < 2; ++h) store(sums + (n * RM + m) * NR + h * W, acc[n][m][h]);
}

struct PackedPairForm {
  int rows;  // of x
  struct {
    int panels;  // forms[0] takes the most panels that fit the registers, forms[1] takes one
    void (*run)(int64_t pairs, const float* x, int64_t xs, const float* const* panels, bool first, float* sums);
  } forms[2];
};
constexpr PackedPairForm packed_pair_forms[] = {
    {8, {{1, packed_pair_tile<8, 1>}, {1, packed_pair_tile<8, 1>}}},
    {7, {{1, packed_pair_tile<7, 1>}, {1, packed_pair_tile<7, 1>}}},
    {6, {{2, packed_pair_tile<6, 2>}, {1, packed_pair_tile<6, 1>}}},
    {5, {{2, packed_pair_tile<5, 2>}, {1, packed_pair_tile<5, 1>}}},
    {4, {{2, packed_pair_tile<4, 2>}, {1, packed_pair_tile<4, 1>}}},
    {3, {{4, packed_pair_tile<3, 4>}, {1, packed_pair_tile<3, 1>}}},
    {2, {{4, packed_pair_tile<2, 4>}, {1, packed_pair_tile<2, 1>}}},
    {1, {{4, packed_pair_tile<1, 4>}, {1, packed_pair_tile<1, 1>}}},
};
constexpr int packed_pair_tiles = 12;  // most rows × panels of a form; each has NR sums
static_assert([] {
  for (const PackedPairForm& f : packed_pair_forms)
    if (f.rows * f.forms[0].panels > packed_pair_tiles) return false;
  return true;
}());

HEDDLE_SIMD void write_packed_pairs(const Gemm& g, int64_t i, int64_t j, F sum) {
  const int64_t left = g.n - j;
  if (left >= W && g.c_type == DType::f32 && !g.bias && !g.c_transposed)
    store(static_cast<float*>(g.c) + i * g.ldc + j, sum);
  else if (left > 0) write_sums(g, i, j, static_cast<int>(min_of<int64_t>(W, left)), sum);
}

// Multiplies all rows of x by panels [p0, p1). `panels` points to the first of them.
inline void packed_pair_panels(const Gemm& g, const float* x, int64_t xs, const float* panels, int64_t p0, int64_t p1) {
  const int64_t floats = pair_panel_floats(g.k);
  alignas(64) float sums[packed_pair_tiles * NR];
  int64_t i = 0;
  for (const PackedPairForm& f : packed_pair_forms)
    for (; i + f.rows <= g.m; i += f.rows) {
      int64_t done = p0;
      for (const auto& form : f.forms) {
        const int64_t each = (p1 - done) / form.panels;
        for (int64_t j = 0; j < each; ++j) {
          const float* at[4];
          for (int s = 0; s < form.panels; ++s) at[s] = panels + (done - p0 + s * each + j) * floats;
          form.run(ceil_div(g.k, 2), x + i * xs, xs, at, true, sums);
          for (int s = 0; s < form.panels; ++s)
            for (int m = 0; m < f.rows; ++m)
              for (int half = 0; half < 2; ++half)
                write_packed_pairs(
                    g, i + m, (done + s * each + j) * NR + half * W, load(sums + (s * f.rows + m) * NR + half * W));
        }
        done += each * form.panels;
      }
    }
}

// Multiplies one row by a panel that is not packed. Pairs are transposed and multiplied in registers, while the next
// panel is prefetched.
inline void unpacked_pair_row(const Gemm& g, const float* x, int64_t panel) {
  const int64_t pairs = ceil_div(g.k, 2), lines = min_of<int64_t>(NR, g.n - panel * NR);
  const bf16* from = static_cast<const bf16*>(g.b) + panel * NR * g.ldb;
  F sum[2] = {zero(), zero()};
  for (int64_t q = 0; q < pairs; q += W) {
    const int64_t left = g.k - 2 * q;
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      const bf16* at = from + half * W * g.ldb + 2 * q;
      const int64_t there = min_of<int64_t>(W, max_of<int64_t>(0, lines - half * W));
      F r[W];
      if (left >= 2 * W && there == W) {
#pragma GCC unroll 16
        for (int i = 0; i < W; ++i) fetch_stream(at + (NR + i) * g.ldb), r[i] = load_pairs(at + i * g.ldb);
        transpose(r);
#pragma GCC unroll 16
        for (int s = 0; s < W; ++s) sum[half] = dot_pairs(set1(x[q + s]), r[s], sum[half]);
      } else {
        for (int i = 0; i < W; ++i) r[i] = i < there ? load_pairs_n(at + i * g.ldb, left) : zero();
        transpose(r);
        for (int s = 0; s < min_of<int64_t>(W, pairs - q); ++s) sum[half] = dot_pairs(set1(x[q + s]), r[s], sum[half]);
      }
    }
  }
  for (int half = 0; half < 2; ++half) write_packed_pairs(g, 0, panel * NR + half * W, sum[half]);
}
// Multiplies rows by panels that are not packed beforehand. Packs some pairs of each panel at a time into L1.
inline void unpacked_pair_panels(const Gemm& g, const float* x, int64_t xs, int64_t p0, int64_t p1) {
  if (g.m == 1) {
    for (int64_t panel = p0; panel < p1; ++panel) unpacked_pair_row(g, x, panel);
    return;
  }
  constexpr int64_t step = 64;  // pairs of each row of b that are packed at a time
  alignas(64) float part[step * NR], sums[packed_pair_rows * NR];
  const int64_t pairs = ceil_div(g.k, 2);
  for (int64_t panel = p0; panel < p1; ++panel) {
    const int64_t lines = min_of<int64_t>(NR, g.n - panel * NR);
    const bf16* from = static_cast<const bf16*>(g.b) + panel * NR * g.ldb;
    for (int64_t p = 0; p < pairs; p += step) {
      const int64_t count = min_of(step, pairs - p);
      for (int64_t line = 0; line < NR; ++line)  // prefetches the next panel
        for (int64_t e = 0; e < 2 * count; e += 32) fetch_stream(from + (NR + line) * g.ldb + 2 * p + e);
      pack_pair_rows<NR>(from + 2 * p, g.ldb, lines, min_of(2 * step, g.k - 2 * p), part);
      const float* at[1] = {part};
      int64_t i = 0;
      for (const PackedPairForm& f : packed_pair_forms)
        for (; i + f.rows <= g.m; i += f.rows) f.forms[1].run(count, x + i * xs + p, xs, at, p == 0, sums + i * NR);
    }
    for (int64_t i = 0; i < g.m; ++i)
      for (int half = 0; half < 2; ++half)
        write_packed_pairs(g, i, panel * NR + half * W, load(sums + i * NR + half * W));
  }
}

inline size_t packed_pair_scratch(int64_t m, int64_t k) {
  return sizeof(float) * static_cast<size_t>(round_up(min_of(m, packed_pair_rows) * ceil_div(k, 2), 16));
}

// Multiplies at most packed_pair_rows rows by several weights in one loop.
inline void packed_pair_products(const Gemm* products, int count, Pool& pool, void* scratch) {
  const Gemm& g = products[0];
  const int64_t xs = ceil_div(g.k, 2);
  const float* x = static_cast<const float*>(g.a);
  float* copy = static_cast<float*>(scratch);
  if (g.k % 2 || g.lda != g.k || g.a_transposed) {  // the rows of pairs are not contiguous
    bf16* to = reinterpret_cast<bf16*>(copy);
    for (int64_t i = 0; i < g.m; ++i)
      for (int64_t p = 0; p < 2 * xs; ++p)
        to[i * 2 * xs + p] =
            p < g.k ? static_cast<const bf16*>(g.a)[g.a_transposed ? p * g.lda + i : i * g.lda + p] : bf16{};
    x = copy;
  }
  const auto tasks_of = [&](const Gemm& p) {
    const int64_t tasks = Pool::stream_tasks(p.n * p.k * 2, pool.threads());
    // With more rows of x than a tile has, a task reads its panels several times. Tasks are then small, so that the
    // panels stay in cache.
    return min_of(ceil_div(p.n, NR), p.m > pair_rows ? max_of(tasks, p.n * p.k * 2 / pair_task_bytes) : tasks);
  };
  run_joined(pool, count, [&](int i) { return tasks_of(products[i]); }, [&](int i, int64_t task, int64_t tasks, int) {
    const Gemm& p = products[i];
    const int64_t panels = ceil_div(p.n, NR), p0 = panels * task / tasks, p1 = panels * (task + 1) / tasks;
    if (p.b_packed)
      packed_pair_panels(p, x, xs, static_cast<const float*>(p.b_packed) + p0 * pair_panel_floats(p.k), p0, p1);
    else unpacked_pair_panels(p, x, xs, p0, p1);
  });
}
#else
inline size_t pairs_packed_bytes(int64_t, int64_t) { return 0; }
inline void pairs_pack(const Gemm&, void*, int64_t, int64_t, Pool&) {}
#endif

}  // namespace HEDDLE_ISA
}  // namespace heddle
