// Row access for the references. They read rows of any element type as doubles, compute in double, and round to f32,
// then to the output's type.
#pragma once
#include <string>
#include <vector>

#include "ops/op.h"
#include "ops/quant.h"

namespace heddle {

using Row = std::vector<double>;

// Reads elements [begin, begin + n) of t as doubles. A quantized t is read in whole blocks.
inline void load_row(const Tensor& t, int64_t begin, int64_t n, double* to) {
  if (is_quantized(t.dtype)) {
    std::vector<float> row(static_cast<size_t>(n));
    dequantize(t.dtype, t.as<unsigned char>() + bytes_of_elements(t.dtype, begin), n, row.data());
    for (int64_t i = 0; i < n; ++i) to[i] = row[i];
    return;
  }
  switch (t.dtype) {
    case DType::f32:
      for (int64_t i = 0; i < n; ++i) to[i] = t.as<float>()[begin + i];
      return;
    case DType::bf16:
      for (int64_t i = 0; i < n; ++i) to[i] = to_float(t.as<bf16>()[begin + i]);
      return;
    default:
      for (int64_t i = 0; i < n; ++i) to[i] = load_float(t, begin + i);
      return;
  }
}

inline Row load_row(const Tensor& t, int64_t begin, int64_t n) {
  Row row(static_cast<size_t>(n));
  load_row(t, begin, n, row.data());
  return row;
}

inline Row load_all(const Tensor& t) { return load_row(t, 0, t.shape.size()); }
inline void round_to_bf16(Row& row) {
  for (auto& v : row) v = to_float(to_bf16(static_cast<float>(v)));
}

inline void store_row(const Tensor& t, int64_t begin, int64_t n, const double* from) {
  if (t.dtype == DType::f32) {
    for (int64_t i = 0; i < n; ++i) t.as<float>()[begin + i] = static_cast<float>(from[i]);
  } else {
    for (int64_t i = 0; i < n; ++i) store_float(t, begin + i, static_cast<float>(from[i]));
  }
}

inline void store_row(const Tensor& t, int64_t begin, const Row& from) {
  store_row(t, begin, static_cast<int64_t>(from.size()), from.data());
}

// Bounds the rounding error of a sum of n f32 terms in any order. The error is at most this fraction of the sum of the
// terms' magnitudes. Source: Higham, Accuracy and Stability of Numerical Algorithms, 4.2.
inline double sum_rounding(int64_t n) {
  const double rounded = static_cast<double>(n) * 0x1p-24;
  return rounded < 0.5 ? rounded / (1 - rounded) : 1;
}

inline double dot(const double* a, const double* b, int64_t n) {
  double s = 0;
  for (int64_t i = 0; i < n; ++i) s += a[i] * b[i];
  return s;
}

// y[i] = f(x[i]) over every element; y may be x.
template <class F> void map1(const Tensor& x, const Tensor& y, F f) {
  const int64_t n = x.shape.size(), width = 1024;
  Row row(width);
  for (int64_t i = 0; i < n; i += width) {
    const int64_t count = n - i < width ? n - i : width;
    load_row(x, i, count, row.data());
    for (int64_t j = 0; j < count; ++j) row[j] = f(row[j]);
    store_row(y, i, count, row.data());
  }
}

// y[i] = f(a[i], b[i]); y may be a or b.
template <class F> void map2(const Tensor& a, const Tensor& b, const Tensor& y, F f) {
  const int64_t n = a.shape.size(), width = 1024;
  Row left(width), right(width);
  for (int64_t i = 0; i < n; i += width) {
    const int64_t count = n - i < width ? n - i : width;
    load_row(a, i, count, left.data());
    load_row(b, i, count, right.data());
    for (int64_t j = 0; j < count; ++j) left[j] = f(left[j], right[j]);
    store_row(y, i, count, left.data());
  }
}

}  // namespace heddle
