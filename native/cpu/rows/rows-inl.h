// Kernels over rows: softmax, column sums, embedding, rotary positions.
#pragma once
#include "cpu/quant/quant-inl.h"

namespace heddle {
namespace HEDDLE_ISA {

using cpu::Embedding;
using cpu::Rope;
using cpu::Rows;

// Returns the minimum number of rows that are worth a task.
HEDDLE_SIMD int64_t row_grain(int64_t width) {
  return max_of<int64_t>(1, elementwise_grain / 2 / max_of<int64_t>(1, width));
}

template <class T> float largest_in_row(const T* x, int64_t n) {
  F top = set1(minus_infinity);
  int64_t i = 0;
  for (; i + W <= n; i += W) top = max(load(x + i), top);
  float peak = reduce_max(top);
  for (; i < n; ++i) peak = max_of(peak, load1(x + i));
  return peak;
}
// Returns the sum over a row of n elements. plus(sum, i) adds the vector at i to sum. Runs of 256 vectors are summed
// separately, as two sums, which keeps rounding errors small.
template <class Plus> HEDDLE_SIMD float sum_of_row(int64_t n, Plus plus) {
  constexpr int64_t run = 256 * W;
  F total = zero();
  for (int64_t begin = 0; begin < n; begin += run) {
    F even = zero(), odd = zero();
    const int64_t end = min_of(n, begin + run);
    int64_t i = begin;
    for (; i + W < end; i += 2 * W) {
      even = plus(even, i);
      odd = plus(odd, i + W);
    }
    if (i < end) even = plus(even, i);
    total = add(total, add(even, odd));
  }
  return reduce_add(total);
}
// Returns the sum of exp(x - peak) for x <= peak.
template <class T> float sum_exp_of_row(const T* x, int64_t n, float peak) {
  F base = set1(peak);
  return sum_of_row(n, [=](F sum, int64_t i) {
    F e = exp_nonpositive(sub(read(x, i, n), base));
    return add(sum, i + W > n ? first(e, static_cast<int>(n - i)) : e);
  });
}
template <class T> void softmax_row(const T* x, T* y, int64_t n) {
  float peak = largest_in_row(x, n);
  F base = set1(peak), inverse = set1(1 / sum_exp_of_row(x, n, peak));
  for (int64_t i = 0; i < n; i += W) write(y, i, n, mul(exp_nonpositive(sub(read(x, i, n), base)), inverse));
}
// dx = y (dy - sum(dy y))
template <class T> void softmax_backward_row(const T* dy, const T* y, T* dx, int64_t n) {
  F mean = set1(sum_of_row(n, [=](F sum, int64_t i) { return fma(read(dy, i, n), read(y, i, n), sum); }));
  for (int64_t i = 0; i < n; i += W) write(dx, i, n, mul(read(y, i, n), sub(read(dy, i, n), mean)));
}
// Subtracts the largest element first: the rounding error then does not grow with a common offset of the row.
template <class T> void log_softmax_row(const T* x, T* y, int64_t n) {
  float peak = largest_in_row(x, n);
  F base = set1(peak), log_sum = set1(scalar_log(sum_exp_of_row(x, n, peak)));
  for (int64_t i = 0; i < n; i += W) write(y, i, n, sub(sub(read(x, i, n), base), log_sum));
}
// dx = dy - exp(y) sum(dy)
template <class T> void log_softmax_backward_row(const T* dy, const T* y, T* dx, int64_t n) {
  F sum = set1(sum_of_row(n, [=](F total, int64_t i) { return add(total, read(dy, i, n)); }));
  for (int64_t i = 0; i < n; i += W) write(dx, i, n, fnma(exp_nonpositive(read(y, i, n)), sum, read(dy, i, n)));
}
template <class T> const T* row_of(const void* p, int64_t row, int64_t width) {
  return static_cast<const T*>(p) + row * width;
}
template <class T> T* row_of(void* p, int64_t row, int64_t width) { return static_cast<T*>(p) + row * width; }

inline void softmax(const Rows& a, Pool& pool) {
  pool.range(a.rows, row_grain(a.width), [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; ++r)
      if (a.type == DType::f32) softmax_row(row_of<float>(a.a, r, a.width), row_of<float>(a.y, r, a.width), a.width);
      else softmax_row(row_of<bf16>(a.a, r, a.width), row_of<bf16>(a.y, r, a.width), a.width);
  });
}
inline void softmax_backward(const Rows& a, Pool& pool) {
  pool.range(a.rows, row_grain(a.width), [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; ++r)
      if (a.type == DType::f32)
        softmax_backward_row(
            row_of<float>(a.a, r, a.width), row_of<float>(a.b, r, a.width), row_of<float>(a.y, r, a.width), a.width);
      else
        softmax_backward_row(
            row_of<bf16>(a.a, r, a.width), row_of<bf16>(a.b, r, a.width), row_of<bf16>(a.y, r, a.width), a.width);
  });
}
inline void log_softmax(const Rows& a, Pool& pool) {
  pool.range(a.rows, row_grain(a.width), [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; ++r)
      if (a.type == DType::f32)
        log_softmax_row(row_of<float>(a.a, r, a.width), row_of<float>(a.y, r, a.width), a.width);
      else log_softmax_row(row_of<bf16>(a.a, r, a.width), row_of<bf16>(a.y, r, a.width), a.width);
  });
}
inline void log_softmax_backward(const Rows& a, Pool& pool) {
  pool.range(a.rows, row_grain(a.width), [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; ++r)
      if (a.type == DType::f32)
        log_softmax_backward_row(
            row_of<float>(a.a, r, a.width), row_of<float>(a.b, r, a.width), row_of<float>(a.y, r, a.width), a.width);
      else
        log_softmax_backward_row(
            row_of<bf16>(a.a, r, a.width), row_of<bf16>(a.b, r, a.width), row_of<bf16>(a.y, r, a.width), a.width);
  });
}

// Sums a block of columns over all rows. Each 256 rows are summed separately to keep rounding errors small.
template <class T> void sum_columns(const Rows& a, int64_t j, int64_t columns, float* y) {
  constexpr int vectors = 4;
  constexpr int64_t run = 256;
  for (int64_t d = j; d < j + columns; d += vectors * W) {
    F total[vectors];
    for (int v = 0; v < vectors; ++v) total[v] = zero();
    bool whole = d + vectors * W <= a.width;
    for (int64_t r0 = 0; r0 < a.rows; r0 += run) {
      F part[vectors];
      for (int v = 0; v < vectors; ++v) part[v] = zero();
      for (int64_t r = r0; r < min_of(a.rows, r0 + run); ++r) {
        const T* row = row_of<T>(a.a, r, a.width);
#pragma GCC unroll 4
        for (int v = 0; v < vectors; ++v)
          if (whole || d + v * W < a.width)
            part[v] = add(part[v], whole ? load(row + d + v * W) : read(row, d + v * W, a.width));
      }
      for (int v = 0; v < vectors; ++v) total[v] = add(total[v], part[v]);
    }
    for (int v = 0; v < vectors; ++v)
      if (d + v * W < a.width) write(y, d + v * W, a.width, total[v]);
  }
}
inline void column_sum(const Rows& a, Pool& pool) {
  constexpr int64_t block = 64;  // a multiple of 4 W
  float* y = static_cast<float*>(a.y);
  pool.range(ceil_div(a.width, block), max_of<int64_t>(1, elementwise_grain / (block * max_of<int64_t>(1, a.rows))),
      [&](int64_t begin, int64_t end, int) {
    int64_t j = begin * block, columns = min_of(a.width, end * block) - j;
    if (a.type == DType::f32) sum_columns<float>(a, j, columns, y);
    else sum_columns<bf16>(a, j, columns, y);
  });
}

// Looks up rows of a quantized table, a few blocks at a time.
inline void embedding_blocks(const Embedding& e, Pool& pool) {
  const QuantType& t = quant_type(e.table_type);
  const int64_t row_bytes = quant_row_bytes(t, e.width);
  pool.range(e.rows, row_grain(e.width), [&](int64_t begin, int64_t end, int) {
    alignas(64) float numbers[largest_block];
    for (int64_t r = begin; r < end; ++r)
      for (int64_t i = 0; i < e.width; i += largest_block) {
        const int64_t n = min_of<int64_t>(largest_block, e.width - i);
        blocks_to_numbers(
            t, static_cast<const char*>(e.table) + e.ids[r] * row_bytes + quant_row_bytes(t, i), n, numbers);
        for (int64_t d = 0; d < n; d += W) {
          F v = mul(load(numbers + d), set1(e.scale));
          if (e.type == DType::f32) write(row_of<float>(e.y, r, e.width), i + d, e.width, v);
          else write(row_of<bf16>(e.y, r, e.width), i + d, e.width, v);
        }
      }
  });
}

inline void embedding(const Embedding& e, Pool& pool) {
  if (e.table_type > DType::u8) return embedding_blocks(e, pool);
  pool.range(e.rows, row_grain(e.width), [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; ++r)
      for (int64_t i = 0; i < e.width; i += W) {
        int64_t row = e.ids[r] * e.width;
        F v = mul(read_any(e.table, e.table_type, row + i, row + e.width), set1(e.scale));
        if (e.type == DType::f32) write(row_of<float>(e.y, r, e.width), i, e.width, v);
        else write(row_of<bf16>(e.y, r, e.width), i, e.width, v);
      }
  });
}

// Adds gradients to a range of the table's rows, from the ids that fall into it, in order.
template <class T> void embed_range(const Embedding& e, int64_t from, int64_t to) {
  const int64_t first = from * e.width, last = to * e.width;
  if (!e.onto)
    for (int64_t i = first; i < last; ++i) e.dtable[i] = 0;
  else if (e.onto != e.dtable)
    for (int64_t i = first; i < last; ++i) e.dtable[i] = e.onto[i];
  for (int64_t r = 0; r < e.rows; ++r) {
    if (e.ids[r] < from || e.ids[r] >= to) continue;
    float* row = e.dtable + e.ids[r] * e.width;
    const T* dy = row_of<T>(e.dy, r, e.width);
    for (int64_t i = 0; i < e.width; i += W)
      write(row, i, e.width, fma(read(dy, i, e.width), set1(e.scale), read(row, i, e.width)));
  }
}
inline void embedding_backward(const Embedding& e, Pool& pool) {
  pool.range(e.vocab, row_grain(e.width), [&](int64_t begin, int64_t end, int) {
    e.type == DType::f32 ? embed_range<float>(e, begin, end) : embed_range<bf16>(e, begin, end);
  });
}

// Computes sine and cosine of a >= 0 in f32, with an absolute error of about 1e-7 up to 2^17 quarter turns.
HEDDLE_SIMD void sine_cosine(F a, F& sine, F& cosine) {
  F n = round_even(mul(a, set1(0.63661977f)));  // a in quarter turns (2 / pi)
#if defined(HEDDLE_SIMD_AVX512) || defined(HEDDLE_SIMD_AVX2) || defined(__aarch64__)
  F r = fnma(n, set1(1.5707964f), a);  // exact: an FMA rounds once, and the difference fits 24 bits
  r = fnma(n, set1(-4.3711388e-8f), r);
#else
  // Without FMA (Cody and Waite): parts of pi/2 so short that every product with n < 2^17 is exact.
  F r = fnma(n, set1(1.5625f), a);
  r = fnma(n, set1(0.0081787109375f), r);
  r = fnma(n, set1(0.00011730194091796875f), r);
  r = fnma(n, set1(3.129243850708008e-07f), r);
  r = fnma(n, set1(9.92093629470503e-10f), r);
#endif
  F s = mul(r, r);
  F p = fma(set1(-0.00019587613f), s, set1(0.0083327470f));
  p = fma(p, s, set1(-0.16666664f));
  F sin_r = fma(mul(r, s), p, r);
  F q = fma(set1(2.4632827e-5f), s, set1(-0.0013888959f));
  q = fma(q, s, set1(0.041666675f));
  F cos_r = fma(mul(s, s), q, fnma(set1(0.5f), s, set1(1)));
  // The quadrant: n mod 4 in {0, 1, 2, 3}. An odd quadrant (n mod 2 = 1) swaps sine and cosine.
  F quarter = fnma(set1(4), round_even(sub(mul(n, set1(0.25f)), set1(0.375f))), n);
  F odd = sub(quarter, mul(set1(2), round_even(sub(mul(quarter, set1(0.5f)), set1(0.25f)))));
  F a1 = select_lt(odd, set1(0.5f), sin_r, cos_r), b1 = select_lt(odd, set1(0.5f), cos_r, sin_r);
  sine = select_lt(quarter, set1(1.5f), a1, neg(a1));
  F flip = abs(sub(quarter, set1(1.5f)));  // 0.5 for quarters 1 and 2, whose cosine changes sign
  cosine = select_lt(flip, set1(1), neg(b1), b1);
}

// Rotates pairs (u, v). The outputs may be the inputs.
template <class T, class U>
void turn(int64_t half, const float* cosine, const float* sine, const T* u, const T* v, U* first, U* second) {
  for (int64_t j = 0; j < half; j += W) {
    F c = read(cosine, j, half), s = read(sine, j, half), a = read(u, j, half), b = read(v, j, half);
    write(first, j, half, fnma(b, s, mul(a, c)));
    write(second, j, half, fma(a, s, mul(b, c)));
  }
}

template <class T> void rope_row(const Rope& a, int64_t n, const float* cosine, const float* sine) {
  int64_t half = a.rotated / 2;
  for (int64_t h = 0; h < a.heads; ++h) {
    const T* x = static_cast<const T*>(a.x) + (n * a.heads + h) * a.width;
    T* y = static_cast<T*>(a.y) + (n * a.heads + h) * a.width;
    if (!a.interleaved && !a.interleaved_out) {
      turn(half, cosine, sine, x, x + half, y, y + half);
    } else {
      // Uses a buffer: y may be x, and the elements of a pair may have other positions in y.
      alignas(64) float first[cpu::max_rope_pairs + W], second[cpu::max_rope_pairs + W];
      for (int64_t j = 0; j < half; ++j) {
        first[j] = load1(a.interleaved ? x + 2 * j : x + j);
        second[j] = load1(a.interleaved ? x + 2 * j + 1 : x + half + j);
      }
      if (a.interleaved_out) {
        turn(half, cosine, sine, first, second, first, second);
        for (int64_t j = 0; j < half; ++j) store1(y + 2 * j, first[j]), store1(y + 2 * j + 1, second[j]);
      } else {
        turn(half, cosine, sine, first, second, y, y + half);
      }
    }
    if (static_cast<const void*>(x) != static_cast<const void*>(y))
      for (int64_t d = a.rotated; d < a.width; d += W) write(y, d, a.width, read(x, d, a.width));
  }
}
inline void rope(const Rope& a, Pool& pool) {
  int64_t half = a.rotated / 2;
  pool.range(a.rows, row_grain(a.heads * a.width), [&](int64_t begin, int64_t end, int) {
    alignas(64) float cosine[cpu::max_rope_pairs + W], sine[cpu::max_rope_pairs + W];
    for (int64_t n = begin; n < end; ++n) {
      F position = set1(static_cast<float>(a.positions[n]));
      for (int64_t j = 0; j < half; j += W) {
        F s, c, angle = mul(position, read(a.inv_freq + n * a.inv_freq_stride, j, half));
        sine_cosine(abs(angle), s, c);
        s = select_lt(angle, zero(), neg(s), s);
        store(cosine + j, mul(c, set1(a.scale)));
        store(sine + j, mul(s, set1(a.inverse ? -a.scale : a.scale)));
      }
      a.type == DType::f32 ? rope_row<float>(a, n, cosine, sine) : rope_row<bf16>(a, n, cosine, sine);
    }
  });
}

}  // namespace HEDDLE_ISA
}  // namespace heddle
