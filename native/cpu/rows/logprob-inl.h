// Log-probabilities of targets under softmax(h w^T) and their gradient. Processes chunks of rows by chunks of the
// vocabulary, and stores only the logits of one chunk. Runs three products backward and one forward, all through the
// active table of kernels. Instruction sets that differ only in their products therefore share this code. Sums over the
// vocabulary and over the rows are added chunk by chunk, in order.
#pragma once
#include "cpu/quant/quant-inl.h"

namespace heddle {
namespace HEDDLE_ISA {

using cpu::TokenLogprob;

// Chunk sizes. Fewer columns are not worth waking the pool, and more do not fit into L2.
constexpr int64_t logprob_rows = 512, logprob_columns = 2048;

struct LogprobPlan {
  int64_t rows, columns;
  int64_t logits, state, dh;  // floats
  int64_t numbers;            // floats: a dequantized chunk of w
  int64_t rounded;            // floats: gradients of logits in bf16
  size_t gemm;
};
inline LogprobPlan plan_logprob(const TokenLogprob& t, bool backward, int threads) {
  LogprobPlan p;
  p.rows = min_of(t.rows, logprob_rows), p.columns = min_of(t.vocab, logprob_columns);
  p.logits = round_up(p.rows * p.columns, 16);
  p.state = round_up(3 * p.rows, 16);
  p.dh = backward && t.h_type != DType::f32 ? round_up(p.rows * t.width, 16) : 0;
  p.numbers = t.w_type > DType::u8 ? round_up(p.columns * t.width, 16) : 0;
  // If the gradient of h is bf16, the operands of its product may be rounded to bf16. The gradient of w is f32 and
  // needs f32 operands. With a soft cap, all kernels keep the gradients of logits in f32.
  bool round =
      t.kernels->bf16_pairs && backward && t.h_type == DType::bf16 && t.w_type == DType::bf16 && !(t.softcap > 0);
  p.rounded = round ? round_up(ceil_div(p.rows * p.columns, 2), 16) : 0;
  p.gemm = t.kernels->gemm_scratch(p.rows, p.columns, t.width, threads);
  if (backward) {
    p.gemm = max_of(p.gemm, t.kernels->gemm_scratch(p.rows, t.width, p.columns, threads));
    p.gemm = max_of(p.gemm, t.kernels->gemm_scratch(p.columns, t.width, p.rows, threads));
  }
  return p;
}
inline size_t logprob_bytes(const LogprobPlan& p) {
  return p.gemm + 64 + sizeof(float) * static_cast<size_t>(p.logits + p.state + p.dh + p.numbers + p.rounded);
}
inline size_t token_logprob_scratch(const TokenLogprob& t, int threads) {
  return logprob_bytes(plan_logprob(t, false, threads));
}
inline size_t token_logprob_backward_scratch(const TokenLogprob& t, int threads) {
  return logprob_bytes(plan_logprob(t, true, threads));
}

inline int64_t bytes_of(DType t) { return t == DType::f32 ? 4 : 2; }

// Rows [j, j + columns) of w: in place, or dequantized into `numbers`.
struct HeadRows {
  const void* data;
  DType type;
};
inline HeadRows head_rows(const TokenLogprob& t, int64_t j, int64_t columns, float* numbers, Pool& pool) {
  if (t.w_type <= DType::u8) return {static_cast<const char*>(t.w) + j * t.width * bytes_of(t.w_type), t.w_type};
  dequantize_rows(t.w_type, t.w, t.width, j, columns, numbers, pool);
  return {numbers, DType::f32};
}

// Computes products (rows, columns) = h[i..] w[j..]^T.
inline void logit_products(const TokenLogprob& t, int64_t i, int64_t rows, const HeadRows& w, int64_t columns,
    float* products, Pool& pool, void* scratch) {
  Gemm g{};
  g.m = rows, g.n = columns, g.k = t.width;
  g.a = static_cast<const char*>(t.h) + i * t.width * bytes_of(t.h_type), g.a_type = t.h_type, g.lda = t.width;
  g.b = w.data, g.b_type = w.type, g.ldb = t.width, g.b_transposed = true;
  g.c = products, g.c_type = DType::f32, g.ldc = columns;
  t.kernels->gemm(g, pool, scratch);
}

HEDDLE_SIMD F logit(F product, float scale, float softcap) {
  F x = mul(product, set1(scale));
  return softcap > 0 ? mul(set1(softcap), tanh(mul(x, set1(1 / softcap)))) : x;
}
inline float logit1(float product, float scale, float softcap) {
  alignas(64) float t[W];
  store(t, logit(set1(product), scale, softcap));
  return t[0];
}
inline float exp1(float x) {
  alignas(64) float t[W];
  store(t, exp_nonpositive(set1(x)));
  return t[0];
}

// Adds the bias, if any, to one row's products of the vocabulary entries from j on.
inline void add_bias(float* row, const TokenLogprob& t, int64_t j, int64_t n) {
  if (!t.bias) return;
  for (int64_t e = 0; e < n; e += W) {
    const int count = static_cast<int>(min_of<int64_t>(W, n - e));
    if (count == W) store(row + e, add(load(row + e), load(t.bias + j + e)));
    else store_n(row + e, add(load_n(row + e, count), load_n(t.bias + j + e, count)), count);
  }
}

// Updates the running maximum m and sum s of exp(logit - m) with one row of products.
inline void fold_row(const float* products, int64_t n, float scale, float softcap, float& m, float& s) {
  F top = set1(minus_infinity);
  int64_t j = 0;
  F top2 = top;
  for (; j + 2 * W <= n; j += 2 * W) {
    top = max(logit(load(products + j), scale, softcap), top);
    top2 = max(logit(load(products + j + W), scale, softcap), top2);
  }
  float peak = max_of(m, reduce_max(max(top, top2)));
  for (int64_t r = j; r < n; ++r) peak = max_of(peak, logit1(products[r], scale, softcap));
  F base = set1(peak), sum = zero(), sum2 = zero();
  for (j = 0; j + 2 * W <= n; j += 2 * W) {
    sum = add(sum, exp_nonpositive(sub(logit(load(products + j), scale, softcap), base)));
    sum2 = add(sum2, exp_nonpositive(sub(logit(load(products + j + W), scale, softcap), base)));
  }
  float total = reduce_add(add(sum, sum2));
  for (; j < n; ++j) total += exp1(logit1(products[j], scale, softcap) - peak);
  s = s * exp1(m - peak) + total;
  m = peak;
}

// Like fold_row, without the target. If the target has nearly all of the probability, a sum that includes it would lose
// most digits of the other tokens' sum to rounding.
inline void fold_others(
    const float* products, int64_t n, int64_t target, float scale, float softcap, float& m, float& s) {
  const int64_t before = target >= 0 && target < n ? target : n;
  if (before > 0) fold_row(products, before, scale, softcap, m, s);
  if (before + 1 < n) fold_row(products + before + 1, n - before - 1, scale, softcap, m, s);
}

// Computes the results of rows [i, i + rows) from the running maxima and sums of the other tokens, and the targets'
// logits.
inline void finish_rows(
    const TokenLogprob& t, int64_t i, int64_t rows, const float* m, const float* s, const float* hit) {
  for (int64_t r = 0; r < rows; ++r) {
    const bool counted = t.targets[i + r] >= 0;
    const float log_sum = scalar_log(s[r]),
                odds = m[r] - hit[r] + log_sum;  // log odds of all other tokens against the target
    const float more = scalar_log1p(scalar_exp(odds > 0 ? -odds : odds));
    t.lse[i + r] = !counted ? 0 : odds > 0 ? m[r] + log_sum + more : hit[r] + more;
    t.logprob[i + r] = !counted ? 0 : odds > 0 ? -odds - more : -more;
  }
}

// Rounds f32 sums to rows [i, i + rows) of a bf16 dh.
inline void round_rows(const TokenLogprob& t, int64_t i, int64_t rows, const float* dh) {
  bf16* to = static_cast<bf16*>(t.dh) + i * t.width;
  for (int64_t e = 0; e < rows * t.width; e += W) {
    const int n = static_cast<int>(min_of<int64_t>(W, rows * t.width - e));
    n == W ? store(to + e, load(dh + e)) : store_n(to + e, load_n(dh + e, n), n);
  }
}

inline void token_logprob(const TokenLogprob& t, Pool& pool, void* scratch) {
  LogprobPlan plan = plan_logprob(t, false, pool.threads());
  float* products = static_cast<float*>(scratch);
  float* state = products + plan.logits;  // m, s, target logit: plan.rows each
  float* numbers = state + plan.state;
  void* rest = numbers + plan.numbers;
  float *m = state, *s = state + plan.rows, *hit = state + 2 * plan.rows;
  for (int64_t i0 = 0; i0 < t.rows; i0 += plan.rows) {
    int64_t rows = min_of(plan.rows, t.rows - i0);
    for (int64_t i = 0; i < rows; ++i) m[i] = minus_infinity, s[i] = 0, hit[i] = 0;
    for (int64_t j0 = 0; j0 < t.vocab; j0 += plan.columns) {
      int64_t columns = min_of(plan.columns, t.vocab - j0);
      const HeadRows w = head_rows(t, j0, columns, numbers, pool);
      logit_products(t, i0, rows, w, columns, products, pool, rest);
      pool.range(rows, max_of<int64_t>(1, 16384 / columns), [&](int64_t begin, int64_t end, int) {
        for (int64_t i = begin; i < end; ++i) {
          int64_t target = t.targets[i0 + i] - j0;
          if (t.targets[i0 + i] < 0) continue;
          float* row = products + i * columns;
          add_bias(row, t, j0, columns);
          if (target >= 0 && target < columns) hit[i] = logit1(row[target], t.scale, t.softcap);
          fold_others(row, columns, target, t.scale, t.softcap, m[i], s[i]);
        }
      });
    }
    finish_rows(t, i0, rows, m, s, hit);
  }
}

// Returns the gradient with respect to a target's logit, from its log-probability.
inline float on_target(float upstream, float of_lse, float logprob) {
  return of_lse * scalar_exp(logprob) - upstream * scalar_expm1(logprob);
}

// Turns one row of products into gradients in place. If `rounded` is not null, also writes them to `rounded` as bf16.
// `upstream` is the gradient of the target's log-probability, and `of_lse` that of the logsumexp. `known` is the
// target's log-probability, or null.
inline void gradient_row(float* row, bf16* rounded, int64_t n, const TokenLogprob& t, float upstream, float of_lse,
    float lse, int64_t target, const float* known = nullptr) {
  auto slope = [&](F product) {  // d logit / d product
    if (!(t.softcap > 0)) return set1(t.scale);
    return mul(set1(t.scale), tanh_slope(mul(mul(product, set1(t.scale)), set1(1 / t.softcap))));
  };
  float at_target = target >= 0 && target < n ? row[target] : 0;
  for (int64_t j = 0; j < n; j += W) {
    int count = static_cast<int>(min_of<int64_t>(W, n - j));
    F product = count == W ? load(row + j) : load_n(row + j, count);
    F p = exp_nonpositive(sub(logit(product, t.scale, t.softcap), set1(lse)));
    F d = mul(mul(set1(of_lse - upstream), p), slope(product));
    count == W ? store(row + j, d) : store_n(row + j, d, count);
    if (rounded) count == W ? store(rounded + j, d) : store_n(rounded + j, d, count);
  }
  if (target < 0 || target >= n) return;
  alignas(64) float gradient[W];
  F p = exp_nonpositive(sub(logit(set1(at_target), t.scale, t.softcap), set1(lse)));
  const F change = known ? set1(on_target(upstream, of_lse, *known))
                         : add(mul(set1(upstream), sub(set1(1), p)), mul(set1(of_lse), p));
  store(gradient, mul(change, slope(set1(at_target))));
  row[target] = gradient[0];
  if (rounded) store1(rounded + target, gradient[0]);
}

inline void token_logprob_backward(const TokenLogprob& t, Pool& pool, void* scratch) {
  LogprobPlan plan = plan_logprob(t, true, pool.threads());
  float* products = static_cast<float*>(scratch);
  float* wide_dh = products + plan.logits + plan.state;
  float* numbers = wide_dh + plan.dh;
  bf16* rounded = plan.rounded ? reinterpret_cast<bf16*>(numbers + plan.numbers) : nullptr;
  void* rest = numbers + plan.numbers + plan.rounded;
  if (t.rows == 0 && t.dw)
    for (int64_t i = 0; i < t.vocab * t.width; ++i) t.dw[i] = 0;
  for (int64_t i = 0; t.dbias && i < t.vocab; ++i) t.dbias[i] = 0;
  for (int64_t i0 = 0; i0 < t.rows; i0 += plan.rows) {
    int64_t rows = min_of(plan.rows, t.rows - i0);
    float* dh = plan.dh ? wide_dh : static_cast<float*>(t.dh) + i0 * t.width;
    for (int64_t j0 = 0; j0 < t.vocab; j0 += plan.columns) {
      int64_t columns = min_of(plan.columns, t.vocab - j0);
      const HeadRows w = head_rows(t, j0, columns, numbers, pool);
      logit_products(t, i0, rows, w, columns, products, pool, rest);
      pool.range(rows, max_of<int64_t>(1, 16384 / columns), [&](int64_t begin, int64_t end, int) {
        for (int64_t i = begin; i < end; ++i) {
          bool counted = t.targets[i0 + i] >= 0;
          float* row = products + i * columns;
          bf16* narrow = rounded ? rounded + i * columns : nullptr;
          if (counted) {
            add_bias(row, t, j0, columns);
            gradient_row(row, narrow, columns, t, t.d_logprob[i0 + i], t.d_lse ? t.d_lse[i0 + i] : 0, t.lse[i0 + i],
                t.targets[i0 + i] - j0);
            continue;
          }
          for (int64_t j = 0; j < columns; ++j) row[j] = 0;
          for (int64_t j = 0; narrow && j < columns; ++j) narrow[j] = bf16{};
        }
      });
      if (t.dbias)
        pool.range(ceil_div(columns, W), max_of<int64_t>(1, 16384 / (W * rows)), [&](int64_t begin, int64_t end, int) {
          for (int64_t j = begin * W; j < min_of(end * W, columns); j += W) {
            const int count = static_cast<int>(min_of<int64_t>(W, columns - j));
            F total = count == W ? load(t.dbias + j0 + j) : load_n(t.dbias + j0 + j, count);
            for (int64_t i = 0; i < rows; ++i) {
              const float* from = products + i * columns + j;
              total = add(total, count == W ? load(from) : load_n(from, count));
            }
            count == W ? store(t.dbias + j0 + j, total) : store_n(t.dbias + j0 + j, total, count);
          }
        });
      Gemm g{};
      g.a = products, g.a_type = DType::f32, g.lda = columns;
      // dh (rows, width) += gradients (rows, columns) w[j0..] (columns, width)
      g.m = rows, g.n = t.width, g.k = columns;
      if (rounded) g.a = rounded, g.a_type = DType::bf16;
      g.b = w.data, g.b_type = w.type, g.ldb = t.width;
      g.c = dh, g.c_type = DType::f32, g.ldc = t.width, g.accumulate = j0 > 0;
      t.kernels->gemm(g, pool, rest);
      if (!t.dw) continue;
      // dw[j0..] (columns, width) += gradients^T h (rows, width)
      g.a = products, g.a_type = DType::f32, g.a_transposed = true, g.m = columns, g.k = rows;
      g.b = static_cast<const char*>(t.h) + i0 * t.width * bytes_of(t.h_type), g.b_type = t.h_type;
      g.c = t.dw + j0 * t.width, g.accumulate = i0 > 0;
      t.kernels->gemm(g, pool, rest);
    }
    if (plan.dh) round_rows(t, i0, rows, dh);
  }
}

}  // namespace HEDDLE_ISA
}  // namespace heddle
