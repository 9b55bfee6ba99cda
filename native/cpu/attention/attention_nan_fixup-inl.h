// Like flash_nan_fixup-inl.h, for gradients. A masked key or value that is not finite can reach gradients of queries. A
// masked query that is not finite can reach gradients of keys and values. Both are recomputed over visible positions
// only. Uses plain dot products, because this is rare.
#pragma once
#include "cpu/attention/attention-inl.h"
#include "cpu/attention/flash_nan_fixup-inl.h"

namespace heddle {
namespace HEDDLE_ISA {

template <class T> inline float row_dot(const T* a, const T* b, int64_t width) {
  F sum = zero();
  for (int64_t d = 0; d < width; d += W) {
    const int n = static_cast<int>(min_of<int64_t>(W, width - d));
    sum = fma(load_n(a + d, n), load_n(b + d, n), sum);
  }
  return reduce_add(sum);
}

template <class T> struct NanGradientFixup {
  const Attention& a;
  const Mask& mask;
  int64_t sequence;

  int64_t query_at(int64_t i, int64_t head) const { return ((sequence * a.length + i) * a.heads + head) * a.width; }
  int64_t key_at(int64_t j, int64_t kv_head) const {
    return ((sequence * a.length + j) * a.kv_heads + kv_head) * a.width;
  }
  const T* of(const void* p, int64_t at) const { return static_cast<const T*>(p) + at; }
  float lse(int64_t i, int64_t head) const { return a.lse[(sequence * a.length + i) * a.heads + head]; }
  bool query_finite(int64_t at, float log_sum) const {
    return log_sum * 0 == 0 && row_finite(of(a.q, at), a.width) && row_finite(of(a.o, at), a.width) &&
           row_finite(of(a.d_o, at), a.width);
  }
  bool key_finite(int64_t at) const { return row_finite(of(a.k, at), a.width) && row_finite(of(a.v, at), a.width); }

  // Computes the softmax weight p of a key for a query, and the gradient d of their dot product.
  void pair(int64_t query, float log_sum, int64_t key, float& p, float& d) const {
    float score = a.scale * row_dot(of(a.q, query), of(a.k, key), a.width), slope = 1;
    if (a.softcap > 0) {
      const float x = score / a.softcap, e = scalar_exp(-2 * __builtin_fabsf(x));
      score = a.softcap * scalar_tanh(x), slope = 4 * e / ((1 + e) * (1 + e));  // see tanh_slope
    }
    const float delta = row_dot(of(a.o, query), of(a.d_o, query), a.width);
    p = scalar_exp(score - log_sum);
    d = p * (row_dot(of(a.d_o, query), of(a.v, key), a.width) - delta) * slope * a.scale;
  }
  // Returns sum + factor * from, for one vector of a row.
  static F add_part(F sum, float factor, const T* from, int n) { return fma(set1(factor), load_n(from, n), sum); }

  void query(int64_t i, int64_t head) const {
    const int64_t at = query_at(i, head), low = mask.low(i), high = mask.high(i, a.length),
                  kv_head = head / (a.heads / a.kv_heads);
    bool fixable = low >= high || query_finite(at, lse(i, head));
    for (int64_t j = low; fixable && j < high; ++j) fixable = key_finite(key_at(j, kv_head));
    for (int64_t part = 0; fixable && part < a.width; part += W) {
      const int n = static_cast<int>(min_of<int64_t>(W, a.width - part));
      F sum = zero();
      for (int64_t j = low; j < high; ++j) {
        float p, d;
        pair(at, lse(i, head), key_at(j, kv_head), p, d);
        sum = add_part(sum, d, of(a.k, key_at(j, kv_head)) + part, n);
      }
      store_n(static_cast<T*>(a.dq) + at + part, sum, n);
    }
  }
  void key(int64_t j, int64_t kv_head) const {
    const int64_t at = key_at(j, kv_head), group = a.heads / a.kv_heads;
    // The range of queries that may see the key. It is contiguous, because both bounds of a mask are nondecreasing.
    int64_t from = 0, to = a.length;
    while (from < to && mask.high(from, a.length) <= j) ++from;
    while (from < to && mask.low(to - 1) > j) --to;
    // Padding queries in this range do not see the key.
    const auto sees = [&](int64_t i) { return mask.low(i) <= j && j < mask.high(i, a.length); };
    bool fixable = true, seen = false;
    for (int64_t i = from; fixable && i < to; ++i)
      for (int64_t head = kv_head * group; fixable && sees(i) && head < (kv_head + 1) * group; ++head)
        seen = true, fixable = query_finite(query_at(i, head), lse(i, head));
    if (!fixable || (seen && !key_finite(at))) return;
    for (int64_t part = 0; part < a.width; part += W) {
      const int n = static_cast<int>(min_of<int64_t>(W, a.width - part));
      F dk = zero(), dv = zero();
      for (int64_t i = from; i < to; ++i)
        for (int64_t head = kv_head * group; sees(i) && head < (kv_head + 1) * group; ++head) {
          const int64_t query = query_at(i, head);
          float p, d;
          pair(query, lse(i, head), at, p, d);
          dk = add_part(dk, d, of(a.q, query) + part, n), dv = add_part(dv, p, of(a.d_o, query) + part, n);
        }
      store_n(static_cast<T*>(a.dk) + at + part, dk, n), store_n(static_cast<T*>(a.dv) + at + part, dv, n);
    }
  }
};

// Recomputes gradients of the queries of one head from `position` on, if the values just stored are not finite.
template <class T>
inline void fix_nan_queries_of(
    const Attention& a, const Mask& mask, int64_t sequence, int64_t head, int64_t position, int64_t rows) {
  const NanGradientFixup<T> fixup{a, mask, sequence};
  const T* from = static_cast<const T*>(a.dq) + fixup.query_at(position, head);
  if (rows_finite(from, a.heads * a.width, rows, a.width)) return;
  for (int64_t i = 0; i < rows; ++i)
    if (!row_finite(from + i * a.heads * a.width, a.width)) fixup.query(position + i, head);
}
inline void fix_nan_queries(
    const Attention& a, const Mask& mask, int64_t sequence, int64_t head, int64_t position, int64_t rows) {
  if (a.type == DType::f32) fix_nan_queries_of<float>(a, mask, sequence, head, position, rows);
  else fix_nan_queries_of<bf16>(a, mask, sequence, head, position, rows);
}
inline void fix_nan_key(const Attention& a, const Mask& mask, int64_t sequence, int64_t kv_head, int64_t j) {
  if (a.type == DType::f32) NanGradientFixup<float>{a, mask, sequence}.key(j, kv_head);
  else NanGradientFixup<bf16>{a, mask, sequence}.key(j, kv_head);
}

}  // namespace HEDDLE_ISA
}  // namespace heddle
