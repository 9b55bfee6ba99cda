// Log-probabilities and their gradient in one pass, for losses whose upstream gradient is known in advance
// (cross-entropy). The logits of a chunk of rows are kept for its gradient, so that they are computed once: three
// products instead of four. After Hsu et al. 2024, "Liger Kernel", which computes gradients in the forward pass too.
#pragma once
#include "cpu/rows/logprob-inl.h"

namespace heddle {
namespace HEDDLE_ISA {

// Size of the kept logits. Rows are split into as few and as equal chunks as fit. Each chunk reads w twice and dw once.
// With AMX this takes a large share of the time.
constexpr int64_t kept_bytes = int64_t{64} << 20, min_kept_rows = 64;

struct FusedLogprobPlan {
  int64_t rows, columns, chunks;  // rows and vocabulary entries at a time; number of chunks of the vocabulary
  // Whether both operands are bf16, there is no soft cap, and the kernels multiply pairs of bf16. Gradients of logits
  // then enter their products in bf16. The slope of a soft cap would need more precise logits. Logits are kept in f16,
  // relative to the row's maximum so far. These differences are most precise where the probability is largest.
  bool narrow;
  int64_t kept, products, state, peaks, rounded, dh, numbers;  // floats
  size_t gemm;
};
inline FusedLogprobPlan plan_fused_logprob(const TokenLogprob& t, int threads) {
  FusedLogprobPlan p;
  p.narrow = t.kernels->bf16_pairs && t.h_type == DType::bf16 && t.w_type == DType::bf16 && !(t.softcap > 0);
  const int64_t row_bytes = max_of<int64_t>(1, t.vocab * (p.narrow ? 2 : 4));
  const int64_t most = min_of(logprob_rows, max_of(min_kept_rows, kept_bytes / row_bytes));
  const int64_t pieces = max_of<int64_t>(1, ceil_div(t.rows, most));
  p.rows = min_of(t.rows, round_up(ceil_div(t.rows, pieces), MR)), p.columns = min_of(t.vocab, logprob_columns);
  p.chunks = ceil_div(t.vocab, p.columns);
  p.kept = round_up(ceil_div(p.rows * t.vocab, p.narrow ? 2 : 1), 16);
  p.products = p.narrow ? round_up(p.rows * p.columns, 16) : 0;
  p.state = round_up(3 * p.rows, 16);
  p.peaks = p.narrow ? round_up(p.chunks * p.rows, 16) : 0;
  p.rounded = p.narrow ? round_up(ceil_div(p.rows * p.columns, 2), 16) : 0;
  p.dh = t.h_type != DType::f32 ? round_up(p.rows * t.width, 16) : 0;
  p.numbers = t.w_type > DType::u8 ? round_up(p.columns * t.width, 16) : 0;
  const auto scratch = t.kernels->gemm_scratch;
  p.gemm = max_of(scratch(p.rows, p.columns, t.width, threads),
      max_of(scratch(p.rows, t.width, p.columns, threads), scratch(p.columns, t.width, p.rows, threads)));
  return p;
}
inline size_t fused_logprob_scratch(const TokenLogprob& t, int threads) {
  const FusedLogprobPlan p = plan_fused_logprob(t, threads);
  return p.gemm + 64 +
         sizeof(float) * static_cast<size_t>(p.kept + p.products + p.state + p.peaks + p.rounded + p.dh + p.numbers);
}

// Stores a row's logits minus `peak`, computed from its products.
inline void keep_row(const float* products, int64_t n, float scale, float peak, f16* to) {
  for (int64_t j = 0; j < n; j += W) {
    const int count = static_cast<int>(min_of<int64_t>(W, n - j));
    const F x = sub(logit(count == W ? load(products + j) : load_n(products + j, count), scale, 0), set1(peak));
    count == W ? store(to + j, x) : store_n(to + j, x, count);
  }
}

// Computes gradients with respect to one row's products from its kept logits.
inline void gradient_of_kept(const f16* row, float peak, bf16* to, int64_t n, float scale, float upstream, float of_lse,
    float lse, int64_t target, float logprob) {
  const F factor = set1((of_lse - upstream) * scale), above = set1(peak - lse);
  for (int64_t j = 0; j < n; j += W) {
    const int count = static_cast<int>(min_of<int64_t>(W, n - j));
    const F d = mul(exp_nonpositive(add(count == W ? load(row + j) : load_n(row + j, count), above)), factor);
    count == W ? store(to + j, d) : store_n(to + j, d, count);
  }
  if (target >= 0 && target < n) store1(to + target, on_target(upstream, of_lse, logprob) * scale);
}

inline void fused_logprob(const TokenLogprob& t, Pool& pool, void* scratch) {
  const FusedLogprobPlan plan = plan_fused_logprob(t, pool.threads());
  float* kept = static_cast<float*>(scratch);
  float* products = kept + plan.kept;
  float *m = products + plan.products, *s = m + plan.rows, *hit = s + plan.rows;
  float* peaks = m + plan.state;
  bf16* rounded = reinterpret_cast<bf16*>(peaks + plan.peaks);
  float* wide_dh = peaks + plan.peaks + plan.rounded;
  float* numbers = wide_dh + plan.dh;
  void* rest = numbers + plan.numbers;
  if (t.rows == 0 && t.dw)
    for (int64_t i = 0; i < t.vocab * t.width; ++i) t.dw[i] = 0;
  for (int64_t i0 = 0; i0 < t.rows; i0 += plan.rows) {
    const int64_t rows = min_of(plan.rows, t.rows - i0);
    for (int64_t i = 0; i < rows; ++i) m[i] = minus_infinity, s[i] = 0, hit[i] = 0;
    // The kept logits of a chunk of the vocabulary are contiguous: (rows, columns) from rows * j0 on.
    for (int64_t j0 = 0; j0 < t.vocab; j0 += plan.columns) {
      const int64_t columns = min_of(plan.columns, t.vocab - j0);
      const HeadRows w = head_rows(t, j0, columns, numbers, pool);
      float* const chunk = plan.narrow ? products : kept + rows * j0;
      f16* const narrow = reinterpret_cast<f16*>(kept) + rows * j0;
      float* const chunk_peaks = peaks + j0 / plan.columns * rows;
      logit_products(t, i0, rows, w, columns, chunk, pool, rest);
      pool.range(rows, max_of<int64_t>(1, 16384 / columns), [&](int64_t begin, int64_t end, int) {
        for (int64_t i = begin; i < end; ++i) {
          const int64_t target = t.targets[i0 + i] - j0;
          if (t.targets[i0 + i] < 0) continue;
          const float* row = chunk + i * columns;
          if (target >= 0 && target < columns) hit[i] = logit1(row[target], t.scale, t.softcap);
          fold_others(row, columns, target, t.scale, t.softcap, m[i], s[i]);
          if (plan.narrow) keep_row(row, columns, t.scale, chunk_peaks[i] = m[i], narrow + i * columns);
        }
      });
    }
    finish_rows(t, i0, rows, m, s, hit);
    float* const dh = plan.dh ? wide_dh : static_cast<float*>(t.dh) + i0 * t.width;
    for (int64_t j0 = 0; j0 < t.vocab; j0 += plan.columns) {
      const int64_t columns = min_of(plan.columns, t.vocab - j0);
      const HeadRows w = head_rows(t, j0, columns, numbers, pool);
      float* const chunk = kept + rows * j0;
      const f16* const narrow = reinterpret_cast<const f16*>(kept) + rows * j0;
      const float* const chunk_peaks = peaks + j0 / plan.columns * rows;
      pool.range(rows, max_of<int64_t>(1, 16384 / columns), [&](int64_t begin, int64_t end, int) {
        for (int64_t i = begin; i < end; ++i) {
          const int64_t target = t.targets[i0 + i];
          const float upstream = t.d_logprob[i0 + i], of_lse = t.d_lse ? t.d_lse[i0 + i] : 0, lse = t.lse[i0 + i],
                      logprob = t.logprob[i0 + i];
          if (target < 0) {
            for (int64_t j = 0; j < columns; ++j) {
              if (plan.narrow) rounded[i * columns + j] = bf16{};
              else chunk[i * columns + j] = 0;
            }
          } else if (plan.narrow) {
            gradient_of_kept(narrow + i * columns, chunk_peaks[i], rounded + i * columns, columns, t.scale, upstream,
                of_lse, lse, target - j0, logprob);
          } else {
            gradient_row(chunk + i * columns, nullptr, columns, t, upstream, of_lse, lse, target - j0, &logprob);
          }
        }
      });
      Gemm g{};
      // dh (rows, width) += gradients (rows, columns) w[j0..] (columns, width)
      g.a = plan.narrow ? static_cast<const void*>(rounded) : chunk, g.a_type = plan.narrow ? DType::bf16 : DType::f32,
      g.lda = columns;
      g.m = rows, g.n = t.width, g.k = columns;
      g.b = w.data, g.b_type = w.type, g.ldb = t.width;
      g.c = dh, g.c_type = DType::f32, g.ldc = t.width, g.accumulate = j0 > 0;
      t.kernels->gemm(g, pool, rest);
      if (!t.dw) continue;
      // dw[j0..] (columns, width) += gradients^T h (rows, width)
      g.a_transposed = true, g.m = columns, g.k = rows;
      g.b = static_cast<const char*>(t.h) + i0 * t.width * bytes_of(t.h_type), g.b_type = t.h_type;
      g.c = t.dw + j0 * t.width, g.accumulate = i0 > 0;
      t.kernels->gemm(g, pool, rest);
    }
    if (plan.dh) round_rows(t, i0, rows, dh);
  }
}

}  // namespace HEDDLE_ISA
}  // namespace heddle
