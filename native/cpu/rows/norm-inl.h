// RMS and layer normalization with an optional preceding residual addition, and their gradients. Gradients of the
// weights are summed over the rows of each part, and then over the parts in order. The number of parts depends on the
// shape alone.
#pragma once
#include "cpu/isa/kernels.h"
#include "cpu/simd/simd.h"

namespace heddle {
namespace HEDDLE_ISA {

using cpu::Norm;
using cpu::NormBackward;

HEDDLE_SIMD int lanes(int64_t i, int64_t n) { return static_cast<int>(min_of<int64_t>(W, n - i)); }
template <class T> HEDDLE_SIMD F read(const T* p, int64_t i, int64_t n) {
  return i + W <= n ? load(p + i) : load_n(p + i, static_cast<int>(n - i));
}
template <class T> HEDDLE_SIMD void write(T* p, int64_t i, int64_t n, F v) {
  if (i + W <= n) store(p + i, v);
  else store_n(p + i, v, static_cast<int>(n - i));
}
// Loads up to W elements of a weight vector of any dtype, beginning at element i.
HEDDLE_SIMD F read_any(const void* p, DType t, int64_t i, int64_t n) {
  if (t == DType::f32) return read(static_cast<const float*>(p), i, n);
  return t == DType::bf16 ? read(static_cast<const bf16*>(p), i, n) : read(static_cast<const f16*>(p), i, n);
}
// Returns v with the lanes from n on set to zero.
HEDDLE_SIMD F first(F v, int n) {
  alignas(64) float t[W];
  store(t, v);
  return load_n(t, n);
}

struct Moments {
  float mean, scale;  // scale = 1 / sqrt(variance + eps)
};

template <class T> HEDDLE_SIMD float sum_of_squares(const T* h, int64_t n) {
  F a = zero(), b = zero();
  int64_t i = 0;
  for (; i + 2 * W <= n; i += 2 * W) {
    F x = load(h + i), y = load(h + i + W);
    a = fma(x, x, a), b = fma(y, y, b);
  }
  for (; i < n; i += W) {
    F x = read(h, i, n);
    a = fma(x, x, a);
  }
  return reduce_add(add(a, b));
}
template <class T> inline Moments rms_moments(const T* h, int64_t n, float eps) {
  return {0, 1 / __builtin_sqrtf(sum_of_squares(h, n) / static_cast<float>(n) + eps)};
}
template <class T> inline Moments layer_moments(const T* h, int64_t n, float eps) {
  F sum = zero();
  for (int64_t i = 0; i < n; i += W) sum = add(sum, read(h, i, n));
  float mean = reduce_add(sum) / static_cast<float>(n);
  F squares = zero();
  for (int64_t i = 0; i < n; i += W) {
    F d = sub(read(h, i, n), set1(mean));
    if (i + W > n) d = first(d, static_cast<int>(n - i));
    squares = fma(d, d, squares);
  }
  return {mean, 1 / __builtin_sqrtf(reduce_add(squares) / static_cast<float>(n) + eps)};
}

// Stores h + residual and returns the sum of its squares, in the same order of additions as sum_of_squares.
template <class T> HEDDLE_SIMD float add_residual(const T* h, const T* residual, int64_t n, T* to) {
  F a = zero(), b = zero();
  int64_t i = 0;
  for (; i + 2 * W <= n; i += 2 * W) {
    store(to + i, add(load(h + i), load(residual + i))),
        store(to + i + W, add(load(h + i + W), load(residual + i + W)));
    const F x = load(to + i), y = load(to + i + W);  // reads the stored sums, which are rounded
    a = fma(x, x, a), b = fma(y, y, b);
  }
  for (; i < n; i += W) {
    write(to, i, n, add(read(h, i, n), read(residual, i, n)));
    const F x = read(to, i, n);
    a = fma(x, x, a);
  }
  return reduce_add(add(a, b));
}
template <class T, class Weight, class To>
HEDDLE_SIMD void scale_row(const T* x, const Weight* w, int64_t n, float scale, float offset, To* y) {
  const F by = set1(scale), more = set1(offset);
  int64_t i = 0;
  for (; i + W <= n; i += W) store(y + i, mul(mul(load(x + i), by), add(more, load(w + i))));
  if (i < n) write(y, i, n, mul(mul(read(x, i, n), by), add(more, read(w, i, n))));
}
template <bool LAYER, class T, class To> void norm_row(const Norm& a, int64_t r) {
  int64_t n = a.width;
  const T* h = static_cast<const T*>(a.x) + r * n;
  float squares = 0;
  if (a.residual) {
    T* sum = static_cast<T*>(a.h) + r * n;
    squares = add_residual(h, static_cast<const T*>(a.residual) + r * n, n, sum);
    h = sum;
  } else if (!LAYER) {
    squares = sum_of_squares(h, n);
  }
  To* y = static_cast<To*>(a.y) + r * n;
  if (!LAYER) {
    const float scale = 1 / __builtin_sqrtf(squares / static_cast<float>(n) + a.eps);
    if (a.w_type == DType::f32) scale_row(h, static_cast<const float*>(a.w), n, scale, a.offset, y);
    else if (a.w_type == DType::bf16) scale_row(h, static_cast<const bf16*>(a.w), n, scale, a.offset, y);
    else scale_row(h, static_cast<const f16*>(a.w), n, scale, a.offset, y);
    return;
  }
  Moments m = layer_moments(h, n, a.eps);
  for (int64_t i = 0; i < n; i += W) {
    F w = read_any(a.w, a.w_type, i, n), x = read(h, i, n), b = a.b ? read_any(a.b, a.b_type, i, n) : zero();
    write(y, i, n, fma(mul(sub(x, set1(m.mean)), set1(m.scale)), w, b));
  }
}
template <bool LAYER> void norm(const Norm& a, Pool& pool) {
  pool.range(a.rows, max_of<int64_t>(1, 8192 / a.width), [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; ++r)
      a.type == DType::bf16     ? norm_row<LAYER, bf16, bf16>(a, r)
      : a.y_type == DType::bf16 ? norm_row<LAYER, float, bf16>(a, r)
                                : norm_row<LAYER, float, float>(a, r);
  });
}
inline void rms_norm(const Norm& a, Pool& pool) { norm<false>(a, pool); }
inline void layer_norm(const Norm& a, Pool& pool) { norm<true>(a, pool); }

inline int64_t norm_parts(int64_t rows) { return max_of<int64_t>(1, min_of<int64_t>(32, rows / 16)); }
inline size_t norm_backward_scratch(const NormBackward& a, int) {
  return sizeof(float) * static_cast<size_t>(norm_parts(a.rows) * 2 * round_up(a.width, W));
}

// With the normalized row x and g = dy w, dx = scale (g - mean(g) - x mean(g x)) [+ dh]. RMS norm lacks the term
// mean(g).
template <bool LAYER, class T> void norm_backward_row(const NormBackward& a, int64_t r, float* dw, float* db) {
  int64_t n = a.width;
  const T* dy = static_cast<const T*>(a.dy) + r * n;
  const T* h = static_cast<const T*>(a.h) + r * n;
  const T* dh = a.dh ? static_cast<const T*>(a.dh) + r * n : nullptr;
  T* dx = static_cast<T*>(a.dx) + r * n;
  Moments m = LAYER ? layer_moments(h, n, a.eps) : rms_moments(h, n, a.eps);
  F mean_sum = zero(), projection_sum = zero(), scale = set1(m.scale), center = set1(m.mean);
  for (int64_t i = 0; i < n; i += W) {
    F g = read(dy, i, n), x = mul(sub(read(h, i, n), center), scale), w = read_any(a.w, a.w_type, i, n);
    store(dw + i, fma(g, x, load(dw + i)));
    if (LAYER) store(db + i, add(load(db + i), g));
    else w = add(w, set1(a.offset));
    g = mul(g, w);  // lanes beyond the end are 0, as in dy
    mean_sum = add(mean_sum, g);
    projection_sum = fma(g, x, projection_sum);
  }
  F mean = set1(LAYER ? reduce_add(mean_sum) / static_cast<float>(n) : 0);
  F projection = set1(reduce_add(projection_sum) / static_cast<float>(n));
  for (int64_t i = 0; i < n; i += W) {
    F g = read(dy, i, n), x = mul(sub(read(h, i, n), center), scale), w = read_any(a.w, a.w_type, i, n);
    if (!LAYER) w = add(w, set1(a.offset));
    g = mul(g, w);
    F d = mul(scale, fnma(x, projection, LAYER ? sub(g, mean) : g));
    write(dx, i, n, dh ? add(d, read(dh, i, n)) : d);
  }
}
template <bool LAYER> void norm_backward(const NormBackward& a, Pool& pool, void* scratch) {
  int64_t parts = norm_parts(a.rows), padded = round_up(a.width, W);
  float* sums = static_cast<float*>(scratch);
  pool.run(parts, [&](int64_t p, int) {
    float* dw = sums + p * 2 * padded;
    float* db = dw + padded;
    for (int64_t i = 0; i < 2 * padded; i += W) store(dw + i, zero());
    for (int64_t r = a.rows * p / parts; r < a.rows * (p + 1) / parts; ++r)
      a.type == DType::f32 ? norm_backward_row<LAYER, float>(a, r, dw, db)
                           : norm_backward_row<LAYER, bf16>(a, r, dw, db);
  });
  for (int64_t i = 0; i < a.width; i += W) {
    F dw = zero(), db = zero();
    for (int64_t p = 0; p < parts; ++p) {
      dw = add(dw, load(sums + p * 2 * padded + i));
      if (LAYER) db = add(db, load(sums + p * 2 * padded + padded + i));
    }
    write(a.dw, i, a.width, dw);
    if (LAYER) write(a.db, i, a.width, db);
  }
}
inline void rms_norm_backward(const NormBackward& a, Pool& pool, void* scratch) {
  norm_backward<false>(a, pool, scratch);
}
inline void layer_norm_backward(const NormBackward& a, Pool& pool, void* scratch) {
  norm_backward<true>(a, pool, scratch);
}

}  // namespace HEDDLE_ISA
}  // namespace heddle
