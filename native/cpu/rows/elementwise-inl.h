// Elementwise kernels, the optimizer step, and sums whose value does not depend on the number of threads.
#pragma once
#include "cpu/rows/activation-inl.h"
#include "cpu/rows/norm-inl.h"

namespace heddle {
namespace HEDDLE_ISA {

using cpu::AdamW;
using cpu::Elementwise;

constexpr int64_t elementwise_grain = 16384;
constexpr int64_t activation_grain = 4096;  // for functions that take ten times as long as an addition

// Calls body(i, count) for the vectors of [0, size). Only the last count may be less than W.
template <class Body>
HEDDLE_SIMD void each_vector(int64_t size, Pool& pool, Body body, int64_t grain = elementwise_grain) {
  pool.range(ceil_div(size, W), grain / W, [&](int64_t begin, int64_t end, int) {
    int64_t whole = min_of(end, size / W);
    for (int64_t v = begin; v < whole; ++v) body(v * W, W);
    if (whole < end) body(whole * W, static_cast<int>(size - whole * W));
  });
}
template <class T> HEDDLE_SIMD F at(const void* p, int64_t i, int n) {
  const T* q = static_cast<const T*>(p) + i;
  return n == W ? load(q) : load_n(q, n);
}
template <class T> HEDDLE_SIMD void put(void* p, int64_t i, int n, F v) {
  T* q = static_cast<T*>(p) + i;
  if (n == W) store(q, v);
  else store_n(q, v, n);
}

// Calls `body` with a value of the operand type and one of the result type. The types are equal, or f32 and bf16.
template <class Body> HEDDLE_SIMD void with_types(const Elementwise& e, Body body) {
  if (e.type != DType::f32) body(bf16{}, bf16{});
  else if (e.out_type == DType::f32) body(0.0f, 0.0f);
  else body(0.0f, bf16{});
}
template <class F1> HEDDLE_SIMD void map1(const Elementwise& e, Pool& pool, F1 f, int64_t grain = elementwise_grain) {
  with_types(e, [&](auto from, auto to) {
    each_vector(
        e.size, pool, [&](int64_t i, int n) { put<decltype(to)>(e.y, i, n, f(at<decltype(from)>(e.a, i, n))); }, grain);
  });
}
template <class F2> HEDDLE_SIMD void map2(const Elementwise& e, Pool& pool, F2 f, int64_t grain = elementwise_grain) {
  with_types(e, [&](auto from, auto to) {
    each_vector(e.size, pool, [&](int64_t i, int n) {
      put<decltype(to)>(e.y, i, n, f(at<decltype(from)>(e.a, i, n), at<decltype(from)>(e.b, i, n)));
    }, grain);
  });
}

inline void add_kernel(const Elementwise& e, Pool& pool) {
  map2(e, pool, [](F a, F b) { return add(a, b); });
}
inline void mul_kernel(const Elementwise& e, Pool& pool) {
  map2(e, pool, [](F a, F b) { return mul(a, b); });
}
inline void affine(const Elementwise& e, Pool& pool) {
  if (e.offset == 0) map1(e, pool, [&](F a) { return mul(a, set1(e.factor)); });
  else map1(e, pool, [&](F a) { return fma(a, set1(e.factor), set1(e.offset)); });
}

inline void softcap(const Elementwise& e, Pool& pool) {
  map1(e, pool, [&](F x) { return mul(set1(e.factor), tanh(mul(x, set1(1 / e.factor)))); });
}
inline void softcap_backward(const Elementwise& e, Pool& pool) {
  map2(e, pool, [&](F dy, F x) { return mul(dy, tanh_slope(mul(x, set1(1 / e.factor)))); });
}

// Calls `body` with the activation as a compile-time choice.
template <class Body> HEDDLE_SIMD void with_activation(int activation, Body body) {
  if (activation == 0) body([](F x) { return silu(x); });
  else if (activation == 1) body([](F x) { return gelu_tanh(x); });
  else body([](F x) { return gelu_erf(x); });
}
inline void glu(const Elementwise& e, Pool& pool) {
  with_activation(e.activation,
      [&](auto act) { map2(e, pool, [&](F gate, F up) { return mul(act(gate).value, up); }, activation_grain); });
}
inline void gelu(const Elementwise& e, Pool& pool) {
  with_activation(e.activation, [&](auto act) { map1(e, pool, [&](F x) { return act(x).value; }, activation_grain); });
}
inline void gelu_backward(const Elementwise& e, Pool& pool) {
  with_activation(e.activation,
      [&](auto act) { map2(e, pool, [&](F dy, F x) { return mul(dy, act(x).derivative); }, activation_grain); });
}
template <class T, class Act> HEDDLE_SIMD void glu_backward_typed(const Elementwise& e, Pool& pool, Act act) {
  each_vector(e.size, pool, [&](int64_t i, int n) {
    F dy = at<T>(e.a, i, n), up = at<T>(e.c, i, n);
    Activated gate = act(at<T>(e.b, i, n));
    put<T>(e.y, i, n, mul(mul(dy, up), gate.derivative));
    put<T>(e.z, i, n, mul(dy, gate.value));
  });
}
inline void glu_backward(const Elementwise& e, Pool& pool) {
  with_activation(e.activation, [&](auto act) {
    if (e.type == DType::f32) glu_backward_typed<float>(e, pool, act);
    else glu_backward_typed<bf16>(e, pool, act);
  });
}

template <class From, class To> HEDDLE_SIMD void convert_typed(const void* from, void* to, int64_t begin, int64_t end) {
  int64_t i = begin;
  for (; i + W <= end; i += W) put<To>(to, i, W, at<From>(from, i, W));
  if (i < end) put<To>(to, i, static_cast<int>(end - i), at<From>(from, i, static_cast<int>(end - i)));
}
template <class From> void convert_from(const void* from, void* to, DType to_type, int64_t begin, int64_t end) {
  if (to_type == DType::f32) convert_typed<From, float>(from, to, begin, end);
  else if (to_type == DType::bf16) convert_typed<From, bf16>(from, to, begin, end);
  else convert_typed<From, f16>(from, to, begin, end);
}
inline void convert_range(const void* from, DType from_type, void* to, DType to_type, int64_t begin, int64_t end) {
  if (from_type == DType::f32) convert_from<float>(from, to, to_type, begin, end);
  else if (from_type == DType::bf16) convert_from<bf16>(from, to, to_type, begin, end);
  else convert_from<f16>(from, to, to_type, begin, end);
}
inline void convert(const void* from, DType from_type, void* to, DType to_type, int64_t n) {
  convert_range(from, from_type, to, to_type, 0, n);
}
inline void cast(const Elementwise& e, Pool& pool) {
  pool.range(e.size, elementwise_grain,
      [&](int64_t begin, int64_t end, int) { convert_range(e.a, e.type, e.y, e.out_type, begin, end); });
}

inline void accumulate(const Elementwise& e, Pool& pool) {
  each_vector(e.size, pool, [&](int64_t i, int n) {
    F g = e.type == DType::f32 ? at<float>(e.a, i, n) : at<bf16>(e.a, i, n);
    // A factor of 0 discards the old value even if it is NaN.
    put<float>(e.y, i, n, e.factor == 0 ? g : fma(set1(e.factor), at<float>(e.y, i, n), g));
  });
}

// Sums runs of at most elementwise_grain numbers in f32, and adds the sums of the runs in double, in order. The pieces
// depend on `size` alone, so the result does not depend on the number of threads.
template <class T, bool SQUARES> double sum_typed(const void* p, int64_t size, Pool& pool) {
  constexpr int64_t most = 1024;
  int64_t piece = max_of<int64_t>(elementwise_grain, round_up(ceil_div(size, most), W)), pieces = ceil_div(size, piece);
  double sums[most];
  pool.run(pieces, [&](int64_t k, int) {
    int64_t end = min_of(size, (k + 1) * piece);
    double total = 0;
    for (int64_t begin = k * piece; begin < end; begin += elementwise_grain) {
      F a[4] = {zero(), zero(), zero(), zero()};
      int64_t stop = min_of(end, begin + elementwise_grain), i = begin;
      for (; i + 4 * W <= stop; i += 4 * W)
#pragma GCC unroll 4
        for (int u = 0; u < 4; ++u) {
          F x = at<T>(p, i + u * W, W);
          a[u] = SQUARES ? fma(x, x, a[u]) : add(a[u], x);
        }
      for (; i < stop; i += W) {
        F x = at<T>(p, i, static_cast<int>(min_of<int64_t>(W, stop - i)));
        a[0] = SQUARES ? fma(x, x, a[0]) : add(a[0], x);
      }
      total += static_cast<double>(reduce_add(add(add(a[0], a[1]), add(a[2], a[3]))));
    }
    sums[k] = total;
  });
  double total = 0;
  for (int64_t k = 0; k < pieces; ++k) total += sums[k];
  return total;
}
inline double sum(const Elementwise& e, Pool& pool) {
  return e.type == DType::f32 ? sum_typed<float, false>(e.a, e.size, pool) : sum_typed<bf16, false>(e.a, e.size, pool);
}
inline double sum_squares(const Elementwise& e, Pool& pool) {
  return e.type == DType::f32 ? sum_typed<float, true>(e.a, e.size, pool) : sum_typed<bf16, true>(e.a, e.size, pool);
}

template <class T> void adamw_typed(const AdamW& a, Pool& pool) {
  double lr = static_cast<double>(a.hyper[0]), beta1 = static_cast<double>(a.hyper[1]),
         beta2 = static_cast<double>(a.hyper[2]);
  double decay = a.decay ? static_cast<double>(a.hyper[4]) : 0;
  F keep = set1(static_cast<float>(1 - lr * decay)),
    step = set1(static_cast<float>(lr / static_cast<double>(a.hyper[5])));
  F correction = set1(static_cast<float>(1 / static_cast<double>(a.hyper[6]))), eps = set1(a.hyper[3]),
    factor = set1(a.factor[0]);
  F b1 = set1(a.hyper[1]), b2 = set1(a.hyper[2]);
  F c1 = set1(static_cast<float>(1 - beta1)), c2 = set1(static_cast<float>(1 - beta2));
  each_vector(a.size, pool, [&](int64_t i, int n) {
    F g = mul(at<float>(a.grad, i, n), factor);
    F m = fma(b1, at<float>(a.m, i, n), mul(c1, g)), v = fma(b2, at<float>(a.v, i, n), mul(mul(c2, g), g));
    put<float>(a.m, i, n, m), put<float>(a.v, i, n, v);
    F update = div(m, add(sqrt(mul(v, correction)), eps));
    put<T>(a.param, i, n, fnma(step, update, mul(keep, at<T>(a.param, i, n))));
  });
}
inline void adamw(const AdamW& a, Pool& pool) {
  a.type == DType::f32 ? adamw_typed<float>(a, pool) : adamw_typed<bf16>(a, pool);
}

}  // namespace HEDDLE_ISA
}  // namespace heddle
