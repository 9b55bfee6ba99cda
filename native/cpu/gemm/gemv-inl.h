// Products with few rows of a (decoding). All threads together read the weight b once, directly from memory. The rows
// of a stay in cache. One row is bound by memory bandwidth, about four or more by arithmetic. The files gemv*-inl.h
// call a `x`, usually converted to f32, and b `w`.
#pragma once
#include "cpu/gemm/gemv_rows-inl.h"
#include "cpu/gemm/write_tile-inl.h"

namespace heddle {
namespace HEDDLE_ISA {

constexpr int gemv_group = 4;      // rows of a in registers at once
constexpr int gemv_axpy_rows = 8;  // maximum rows of x for weights stored (k, n)

// Whether the instruction set lacks conversions of f16. The long code for them is not unrolled.
#if defined(__aarch64__) || defined(HEDDLE_SIMD_AVX2) || defined(HEDDLE_SIMD_AVX512)
constexpr bool widens_slowly = false;
#else
constexpr bool widens_slowly = true;
#endif

// Returns the scratch for rows of x as f32. With AVX-512 it has room for their interleaved copy as well (gemv_many).
inline size_t gemv_scratch(int64_t m, int64_t k) {
  return sizeof(float) * static_cast<size_t>((wide_rows ? 2 : 1) * m * round_up(k, 16));
}

template <class T> void widen(const T* from, int64_t n, float* to) {
  int64_t i = 0;
  for (; i + W <= n; i += W) store(to + i, load(from + i));
  if (i < n) store_n(to + i, load_n(from + i, static_cast<int>(n - i)), static_cast<int>(n - i));
}

// Converts row i of a to f32 in `to`, for either storage order.
inline void gemv_row(const Gemm& g, int64_t i, float* to) {
  if (g.a_transposed)
    for (int64_t p = 0; p < g.k; ++p) to[p] = load_any(g.a, g.a_type, p * g.lda + i);
  else if (g.a_type == DType::f32) widen(static_cast<const float*>(g.a) + i * g.lda, g.k, to);
  else if (g.a_type == DType::bf16) widen(static_cast<const bf16*>(g.a) + i * g.lda, g.k, to);
  else widen(static_cast<const f16*>(g.a) + i * g.lda, g.k, to);
}

// Puts the even elements of each 2 W elements of x before the odd ones, as load_half loads bf16 weights. The last
// incomplete block keeps its order. Other types of weights need no reordering.
inline void arrange(float* x, int64_t n, DType w_type) {
  if (w_type != DType::bf16) return;
  for (int64_t p = 0; p + 2 * W <= n; p += 2 * W) {
    float odd[W];
    for (int i = 0; i < W; ++i) odd[i] = x[p + 2 * i + 1];
    for (int i = 0; i < W; ++i) x[p + i] = x[p + 2 * i];
    for (int i = 0; i < W; ++i) x[p + W + i] = odd[i];
  }
}

// RM rows of x (stride xs) times RN rows of w (stride ws). sums[j * RM + i] are vectors; the sum of their lanes is the
// product. Each lane adds up in one fixed order for all RM and RN, so a row's result does not depend on other rows.
// Each row of w is prefetched `ahead` bytes ahead, unless that is 0.
template <int RM, int RN, class T>
HEDDLE_SIMD void dots(int64_t k, const float* x, int64_t xs, const T* w, int64_t ws, int64_t ahead, float* sums) {
  constexpr int block_bytes = 2 * W * static_cast<int>(sizeof(T));
  constexpr int blocks = block_bytes < 64 ? 64 / block_bytes : 1;  // per step: whole cache lines
  F acc[RM][RN];
#pragma GCC unroll 4
  for (int i = 0; i < RM; ++i)
#pragma GCC unroll 8
    for (int j = 0; j < RN; ++j) acc[i][j] = zero();
  const auto half_step = [&](int64_t p, auto half) HEDDLE_INLINE_LAMBDA {
    constexpr int h = decltype(half)::value;
    F b[RN];
#pragma GCC unroll 8
    for (int j = 0; j < RN; ++j) b[j] = load_half<h>(w + j * ws + p);
#pragma GCC unroll 4
    for (int i = 0; i < RM; ++i) {
      F a = load(x + i * xs + p + h * W);
#pragma GCC unroll 8
      for (int j = 0; j < RN; ++j) acc[i][j] = fma_in_place(b[j], a, acc[i][j]);
    }
  };
  const auto step = [&](int64_t p) HEDDLE_INLINE_LAMBDA { half_step(p, Half<0>{}), half_step(p, Half<1>{}); };
  int64_t p = 0;
  for (; p + blocks * 2 * W <= k; p += blocks * 2 * W) {
#pragma GCC unroll 8
    for (int j = 0; ahead && j < RN; ++j)
#pragma GCC unroll 2
      for (int l = 0; l < block_bytes * blocks / 64; ++l)
        fetch_stream(reinterpret_cast<const char*>(w + j * ws + p) + ahead + 64 * l);
    if constexpr (widens_slowly) {
#pragma GCC unroll 1
      for (int u = 0; u < blocks; ++u) step(p + u * 2 * W);
    } else {
#pragma GCC unroll 4
      for (int u = 0; u < blocks; ++u) step(p + u * 2 * W);
    }
  }
  for (; p + 2 * W <= k; p += 2 * W) step(p);
  for (; p < k; p += W) {
    int n = static_cast<int>(min_of<int64_t>(W, k - p));
#pragma GCC unroll 8
    for (int j = 0; j < RN; ++j) {
      F b = load_n(w + j * ws + p, n);
#pragma GCC unroll 4
      for (int i = 0; i < RM; ++i) acc[i][j] = fma(load_n(x + i * xs + p, n), b, acc[i][j]);
    }
  }
#pragma GCC unroll 4
  for (int i = 0; i < RM; ++i)
#pragma GCC unroll 8
    for (int j = 0; j < RN; ++j) store(sums + (j * RM + i) * W, acc[i][j]);
}

constexpr int gemv_axpy_columns = 512;  // if w is stored (k, n): columns per pass over k

template <int RM, int RN, class T>
[[gnu::noinline]] void dots_block(
    int64_t k, const float* x, int64_t xs, const T* w, int64_t ws, int64_t ahead, float* sums) {
  wide_rows || ahead ? dots<RM, RN>(k, x, xs, w, ws, ahead, sums) : dots<RM, RN>(k, x, xs, w, ws, 0, sums);
}
// The kernels for a group of RM rows of x. `alone` is used if x has one group, and reads `streams` rows of w in
// parallel. `beside` is used if x has several groups, and reads gemv_streams_beside rows. `one` reads a single row of
// w. With wide_rows there is only one group, because gemv_many computes products with more rows of x. That group always
// prefetches.
template <class T> struct DotForm {
  using Run = void (*)(int64_t k, const float* x, int64_t xs, const T* w, int64_t ws, int64_t ahead, float* sums);
  int streams;
  Run alone, beside, one;
};
constexpr int gemv_streams_beside = 3;
template <int RM, class T>
constexpr typename DotForm<T>::Run dots_beside = wide_rows ? nullptr : dots_block<RM, gemv_streams_beside, T>;
template <class T>
constexpr DotForm<T> dot_forms[gemv_group] = {{6, dots_block<1, 6, T>, dots_beside<1, T>, dots_block<1, 1, T>},
    {4, dots_block<2, 4, T>, dots_beside<2, T>, dots_block<2, 1, T>},
    {3, dots_block<3, 3, T>, dots_beside<3, T>, dots_block<3, 1, T>},
    {3, dots_block<4, 3, T>, dots_beside<4, T>, dots_block<4, 1, T>}};
constexpr int gemv_sums = 12;         // sums of the largest kernel
constexpr int gemv_block = 8;         // rows of w per stream whose products are written together
constexpr int64_t gemv_ahead = 8192;  // prefetch distance in bytes, over all streams
// Bytes of w that stay in cache while the groups of rows of x use them. May be exceeded, because a block has at least
// two rows.
constexpr int64_t gemv_near_bytes = 65536;

template <class T> HEDDLE_SIMD int gemv_streams_of(int64_t m) {
  return m > gemv_group ? gemv_streams_beside : dot_forms<T>[m - 1].streams;
}

// Computes columns [j, j + each * streams) of the output, for w stored (n, k). Each stream reads `each` consecutive
// rows of w. The first group of rows of x prefetches a little ahead from memory. Later groups find w in cache and
// prefetch their shares of the next block.
template <class T>
void gemv_stripe(const Gemm& g, const float* x, int64_t xs, const T* w, int64_t j, int64_t each, bool several) {
  alignas(64) float sums[gemv_block][gemv_sums * W];
  const int64_t row_bytes = g.ldb * static_cast<int64_t>(sizeof(T)), groups = ceil_div(g.m, gemv_group);
  const int streams = several ? gemv_streams_of<T>(g.m) : 1;
  const int64_t fit = max_of<int64_t>(2, gemv_near_bytes / max_of<int64_t>(1, streams * row_bytes));
  const int64_t block = groups == 1 ? gemv_block : min_of<int64_t>(gemv_block, fit);
  for (int64_t r0 = 0; r0 < each; r0 += block) {
    const int64_t count = min_of(block, each - r0);
    for (int64_t i = 0; i < g.m; i += gemv_group) {
      const int64_t rows = min_of<int64_t>(gemv_group, g.m - i), group = i / gemv_group;
      const DotForm<T>& form = dot_forms<T>[rows - 1];
      const auto run = !several ? form.one : groups == 1 ? form.alone : form.beside;
      for (int64_t r = 0; r < count; ++r) {
        const bool share = group > 0 && r % (groups - 1) == group - 1 && r0 + block + r < each;
        const int64_t ahead = group == 0 ? gemv_ahead / streams : share ? block * row_bytes : 0;
        run(g.k, x + i * xs, xs, w + (j + r0 + r) * g.ldb, each * g.ldb, ahead, sums[r]);
      }
      for (int64_t m = 0; m < rows; ++m)
        for (int s = 0; s < streams; ++s)
          for (int64_t r = 0; r < count; r += W) {
            F lines[W];
#pragma GCC unroll 16
            for (int l = 0; l < W; ++l) lines[l] = r + l < gemv_block ? load(sums[r + l] + (s * rows + m) * W) : zero();
            write_sums(
                g, i + m, j + s * each + r0 + r, static_cast<int>(min_of<int64_t>(W, count - r)), sum_lanes(lines));
          }
    }
  }
}

// Computes columns [j0, j1) of the output, for w stored (n, k).
template <class T> void gemv_dot(const Gemm& g, const float* x, int64_t xs, const T* w, int64_t j0, int64_t j1) {
  const int streams = gemv_streams_of<T>(g.m);
  const int64_t each = (j1 - j0) / streams, done = j0 + each * streams;
  if (each) gemv_stripe(g, x, xs, w, j0, each, true);
  if (done < j1) gemv_stripe(g, x, xs, w, done, j1 - done, false);
}

// Computes columns [j0, j1) of the output, for w stored (k, n). The sums of a block of columns stay in L1 while w
// streams past, eight rows at a time.
template <class T> void gemv_axpy(const Gemm& g, const float* x, int64_t xs, const T* w, int64_t j0, int64_t j1) {
  constexpr int steps = 8;
  float sums[gemv_axpy_rows * gemv_axpy_columns];
  for (int64_t j = j0; j < j1; j += gemv_axpy_columns) {
    int64_t n = min_of<int64_t>(gemv_axpy_columns, j1 - j);
    for (int64_t i = 0; i < g.m; ++i)
      for (int64_t s = 0; s < n; ++s) sums[i * gemv_axpy_columns + s] = 0;
    for (int64_t p = 0; p < g.k; p += steps) {
      int64_t count = min_of<int64_t>(steps, g.k - p);
      const T* rows[steps];
      for (int u = 0; u < steps; ++u) rows[u] = w + (p + min_of<int64_t>(u, count - 1)) * g.ldb + j;
      for (int64_t i = 0; i < g.m; ++i) {
        F a[steps];
        for (int u = 0; u < steps; ++u) a[u] = u < count ? set1(x[i * xs + p + u]) : zero();
        float* to = sums + i * gemv_axpy_columns;
        int64_t s = 0;
        for (; s + W <= n; s += W) {
          F acc = load(to + s);
#pragma GCC unroll 8
          for (int u = 0; u < steps; ++u) acc = fma(a[u], load(rows[u] + s), acc);
          store(to + s, acc);
        }
        if (s < n) {
          int rest = static_cast<int>(n - s);
          F acc = load_n(to + s, rest);
          for (int u = 0; u < steps; ++u) acc = fma(a[u], load_n(rows[u] + s, rest), acc);
          store_n(to + s, acc, rest);
        }
      }
    }
    for (int64_t i = 0; i < g.m; ++i)
      for (int64_t s = 0; s < n; s += W) {
        const int count = static_cast<int>(min_of<int64_t>(W, n - s));
        write_sums(g, i, j + s, count, load(sums + i * gemv_axpy_columns + s));
      }
  }
}

template <class T>
void gemv_typed(const Gemm& g, Pool& pool, const float* x, int64_t xs, [[maybe_unused]] float* lines) {
  const T* w = static_cast<const T*>(g.b);
#if defined(HEDDLE_SIMD_AVX512)
  if (g.b_transposed && g.m > gemv_group) return gemv_many<T>(g, pool, x, xs, lines);
#endif
  const int64_t bytes = g.n * g.k * static_cast<int64_t>(sizeof(T));
  if (g.b_transposed) {
    const int64_t tasks = Pool::stream_tasks(bytes, pool.threads());
    return pool.run(tasks, [&](int64_t t, int) { gemv_dot(g, x, xs, w, g.n * t / tasks, g.n * (t + 1) / tasks); });
  }
  // A task has whole vectors of columns and at least 16 KiB of weights. There are enough tasks to balance the threads.
  const int64_t block = 4 * W, blocks = ceil_div(g.n, block);
  const int64_t tasks =
      pool.threads() == 1
          ? 1
          : max_of<int64_t>(1, min_of(min_of(blocks, bytes / 16384), static_cast<int64_t>(pool.threads()) * 8));
  pool.run(tasks, [&](int64_t t, int) {
    gemv_axpy(g, x, xs, w, blocks * t / tasks * block, min_of(g.n, blocks * (t + 1) / tasks * block));
  });
}

inline void gemv(const Gemm& g, Pool& pool, void* scratch) {
  const float* x = static_cast<const float*>(g.a);
  int64_t xs = g.lda;
  bool rearranged = g.b_transposed && g.b_type == DType::bf16;
  if (g.a_type != DType::f32 || rearranged || g.a_transposed) {
    float* copy = static_cast<float*>(scratch);
    xs = round_up(g.k, 16);
    for (int64_t i = 0; i < g.m; ++i) {
      float* to = copy + i * xs;
      gemv_row(g, i, to);
      if (rearranged) arrange(to, g.k, g.b_type);
    }
    x = copy;
  }
  float* lines = static_cast<float*>(scratch) + g.m * round_up(g.k, 16);
  if (g.b_type == DType::f32) gemv_typed<float>(g, pool, x, xs, lines);
  else if (g.b_type == DType::bf16) gemv_typed<bf16>(g, pool, x, xs, lines);
  else gemv_typed<f16>(g, pool, x, xs, lines);
}

}  // namespace HEDDLE_ISA
}  // namespace heddle
