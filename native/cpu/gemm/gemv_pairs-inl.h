// Products with few rows of a (decoding), with both operands bf16 and w stored (n, k). The dot product of pairs has
// twice the throughput of f32. The lanes of a vector hold consecutive elements along k. Several parallel streams use
// memory bandwidth best, so each thread reads distant rows of w, and each stream reads consecutive ones.
#pragma once
#include "cpu/rows/loops-inl.h"
#include "cpu/gemm/write_tile-inl.h"

#if defined(HEDDLE_SIMD_BF16)
namespace heddle {
namespace HEDDLE_ISA {

constexpr int gemv_pair_rows = 32;           // maximum rows of x; with more rows, packing pays off
constexpr int64_t pair_task_bytes = 131072;  // weights of a task that reads them several times: they stay in cache
// Rows of w that are read in parallel for one row of x, and the prefetch distance in bytes, over all streams.
constexpr int pair_streams = 8, pair_ahead = 8192;

// If a tile's rows of x exceed pair_near_bytes, prefetched data has no room in L1. The rows are therefore split into
// parts of pair_part elements. A block of rows of w is multiplied by one part after the other.
constexpr int64_t pair_near_bytes = 40960, pair_part = 512;
constexpr int pair_block = 16;  // rows of w per stream
static_assert(pair_block % W == 0, "sums are reduced a whole vector of rows at a time");
constexpr int pair_parts_ahead = 4;  // prefetch distance in parts

// Multiplies one row of w per stream, or with PART a part of it, by RM rows of x. sums[n * RM + m] are vectors whose
// lanes add up to the product. Parts after the first add to the stored sums. Rows of x are padded with zeros to whole
// vectors. A lane's order of additions does not depend on RM, RN or the parts, so the bits do not either. Prefetches
// each row `ahead` elements further, or with PART the parts at `next`.
template <int RM, int RN, bool PART>
[[gnu::noinline]] void pair_tile(int64_t k, const bf16* x, int64_t xs, const bf16* const* rows,
    [[maybe_unused]] const bf16* const* next, [[maybe_unused]] int64_t ahead, [[maybe_unused]] bool first,
    float* sums) {
  F acc[RN][RM];
  const bf16* at[RN];
  [[maybe_unused]] const bf16* to[RN];
#pragma GCC unroll 8
  for (int n = 0; n < RN; ++n) {
    at[n] = rows[n];
    if (PART) to[n] = next[n];
#pragma GCC unroll 8
    for (int m = 0; m < RM; ++m) acc[n][m] = PART && !first ? load(sums + (n * RM + m) * W) : zero();
  }
  const auto pairs = [](const bf16* p) HEDDLE_INLINE_LAMBDA { return load(reinterpret_cast<const float*>(p)); };
  constexpr int vectors = W < 16 ? 16 / W : 1;  // vectors of w per cache line
  int64_t p = 0;
  const auto step = [&](bool fetch) HEDDLE_INLINE_LAMBDA {
#pragma GCC unroll 8
    for (int n = 0; n < RN; ++n) {
      if (fetch) fetch_stream(PART ? to[n] + p : at[n] + p + ahead);
      const F w = pairs(at[n] + p);
#pragma GCC unroll 8
      for (int m = 0; m < RM; ++m) acc[n][m] = dot_pairs(w, pairs(x + m * xs + p), acc[n][m]);
    }
    p += 2 * W;
  };
#pragma GCC unroll 1
  while (p + vectors * 2 * W <= k)
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) step(v == 0);
#pragma GCC unroll 1
  while (vectors > 1 && p + 2 * W <= k) step(false);
  if (p < k) {
#pragma GCC unroll 8
    for (int n = 0; n < RN; ++n) {
      alignas(64) bf16 rest[2 * W] = {};
      __builtin_memcpy(rest, at[n] + p, static_cast<size_t>(k - p) * sizeof(bf16));
#pragma GCC unroll 8
      for (int m = 0; m < RM; ++m) acc[n][m] = dot_pairs(pairs(rest), pairs(x + m * xs + p), acc[n][m]);
    }
  }
#pragma GCC unroll 8
  for (int n = 0; n < RN; ++n)
#pragma GCC unroll 8
    for (int m = 0; m < RM; ++m) store(sums + (n * RM + m) * W, acc[n][m]);
}

using PairTile = void (*)(int64_t k, const bf16* x, int64_t xs, const bf16* const* rows, const bf16* const* next,
    int64_t ahead, bool first, float* sums);
struct PairForm {
  int rows, streams;  // rows of x and of w
  PairTile whole, part;
};
template <int RM, int RN> constexpr PairForm pair_form = {RM, RN, pair_tile<RM, RN, false>, pair_tile<RM, RN, true>};
// The kernels for one to eight rows of x, with several rows of w and with one.
constexpr int pair_rows = 8;
constexpr PairForm pair_forms[pair_rows] = {pair_form<1, 8>, pair_form<2, 8>, pair_form<3, 4>, pair_form<4, 4>,
    pair_form<5, 4>, pair_form<6, 2>, pair_form<7, 2>, pair_form<8, 2>};
constexpr PairForm single_forms[pair_rows] = {pair_form<1, 1>, pair_form<2, 1>, pair_form<3, 1>, pair_form<4, 1>,
    pair_form<5, 1>, pair_form<6, 1>, pair_form<7, 1>, pair_form<8, 1>};
constexpr int pair_sums = 20;  // sums of the largest kernel
static_assert([] {
  for (const PairForm& f : pair_forms)
    if (f.rows * f.streams > pair_sums) return false;
  return true;
}());

// Computes columns [j, j + each * streams) for the rows of x of `form`. Each stream has `each` rows of w, which are
// processed in blocks; the sums of a block are reduced and written together. Prefetches w a little ahead, or `later`
// rows ahead if that is not 0.
inline void pair_stripe(
    const Gemm& g, const PairForm& form, const bf16* x, int64_t xs, int64_t i, int64_t j, int64_t each, int64_t later) {
  alignas(64) float sums[pair_block][pair_sums * W];
  const bf16* w = static_cast<const bf16*>(g.b) + j * g.ldb;
  const bool whole = form.rows * xs * 2 <= pair_near_bytes;
  const int64_t length = whole ? g.k : pair_part, parts = whole ? 1 : ceil_div(g.k, length);
  // Prefetches twice as far with more than four rows of x, if x leaves room in L1.
  const int64_t fetched = form.rows > 4 && form.rows * xs * 2 <= 12288 ? 2 * pair_ahead : pair_ahead;
  const int64_t ahead = later ? later * g.ldb : fetched / form.streams / static_cast<int64_t>(sizeof(bf16));
  const bf16 *at[pair_streams], *next[pair_streams];
  for (int64_t r0 = 0; r0 < each; r0 += pair_block) {
    const int64_t count = min_of<int64_t>(pair_block, each - r0);
    for (int64_t part = 0; part < parts; ++part)
      for (int64_t r = 0; r < count; ++r) {
        for (int s = 0; s < form.streams; ++s) at[s] = w + (s * each + r0 + r) * g.ldb + part * length;
        if (!whole && later)
          for (int s = 0; s < form.streams; ++s) next[s] = at[s] + ahead;
        else if (!whole) {  // pair_parts_ahead parts further in this block, or in the first rows of the next block
          const int64_t soon = part * count + r + pair_parts_ahead, beyond = soon - parts * count;
          const int64_t row = beyond < 0 ? r0 + soon % count : r0 + count + beyond,
                        column = beyond < 0 ? soon / count * length : 0;
          for (int s = 0; s < form.streams; ++s) next[s] = w + (s * each + row) * g.ldb + column;
        }
        (whole ? form.whole : form.part)(
            min_of(length, g.k - part * length), x + part * length, xs, at, next, ahead, part == 0, sums[r]);
      }
    for (int m = 0; m < form.rows; ++m)
      for (int s = 0; s < form.streams; ++s)
        for (int64_t r = 0; r < count; r += W) {
          F lines[W];
#pragma GCC unroll 16
          for (int l = 0; l < W; ++l) lines[l] = load(sums[r + l] + (s * form.rows + m) * W);
          const int columns = static_cast<int>(min_of<int64_t>(W, count - r));
          write_sums(g, i + m, j + s * each + r0 + r, columns, sum_lanes(lines));
        }
  }
}

// Computes columns [j0, j1) of rows [i, i + rows).
inline void pair_columns(
    const Gemm& g, const bf16* x, int64_t xs, int64_t i, int64_t rows, int64_t j0, int64_t j1, int64_t later) {
  const PairForm &several = pair_forms[rows - 1], &one = single_forms[rows - 1];
  const int64_t each = (j1 - j0) / several.streams, done = j0 + each * several.streams;
  if (each) pair_stripe(g, several, x + i * xs, xs, i, j0, each, later);
  if (done < j1) pair_stripe(g, one, x + i * xs, xs, i, done, j1 - done, later);
}

// Multiplies one a by several weights in one loop.
inline void gemv_pairs(const Gemm* products, int count, Pool& pool, void* scratch) {
  const Gemm& g = products[0];
  const int64_t xs = round_up(g.k, 2 * W);
  bf16* x = static_cast<bf16*>(scratch);
  for (int64_t i = 0; i < g.m; ++i) {
    const bf16* a = static_cast<const bf16*>(g.a);
    if (g.a_transposed)
      for (int64_t p = 0; p < g.k; ++p) x[i * xs + p] = a[p * g.lda + i];
    else __builtin_memcpy(x + i * xs, a + i * g.lda, static_cast<size_t>(g.k) * sizeof(bf16));
    for (int64_t p = g.k; p < xs; ++p) x[i * xs + p] = bf16{};
  }
  const auto tasks_of = [&](const Gemm& p) {
    const int64_t tasks = Pool::stream_tasks(p.n * p.k * 2, pool.threads());
    // With more rows of x than a tile has, a task reads its weights several times. Tasks are then small, so that the
    // weights stay in cache.
    return p.m > pair_rows ? max_of(tasks, min_of(ceil_div(p.n, pair_streams), p.n * p.k * 2 / pair_task_bytes))
                           : tasks;
  };
  run_joined(
      pool, count, [&](int i) { return tasks_of(products[i]); }, [&](int index, int64_t task, int64_t tasks, int) {
    const Gemm& p = products[index];
    const int64_t j0 = p.n * task / tasks, j1 = p.n * (task + 1) / tasks;
    for (int64_t i = 0; i < p.m; i += pair_rows) {
      const int64_t rows = min_of<int64_t>(pair_rows, p.m - i);
      // The last rows of x find the task's weights in cache, so they prefetch the next task's weights from memory.
      const bool last = i > 0 && i + rows == p.m;
      pair_columns(p, x, xs, i, rows, j0, j1, last && goes_on(task, tasks, pool.threads()) ? j1 - j0 : 0);
    }
  });
}

}  // namespace HEDDLE_ISA
}  // namespace heddle
#endif
