// Linear layers over quantised weights: with activations in 8 bits, or exactly, by way of a few rows as numbers at a time.
#pragma once
#include "cpu/elementwise-inl.h"
#include "cpu/int8_gemm-inl.h"
#include "cpu/int8_packed-inl.h"

namespace heddle {
namespace HEDDLE_ISA {

// Rows of activations from which packing the weights pays.
constexpr int64_t int8_gemm_rows = 12;

struct Int8Plan {
  bool packs;
  size_t values, scales, sums, totals, starts, panels;  // bytes, each a multiple of 64
  size_t bytes() const { return values + scales + sums + totals + starts + panels; }
};
inline Int8Plan plan_int8(const QuantLinear& p, int threads) {
  Int8Plan plan{};
  const auto padded = [](int64_t bytes) { return static_cast<size_t>(round_up(bytes, 64)); };
  const int64_t units = p.k / unit;
  int64_t rows = max_of<int64_t>(1, p.m);
#if defined(HEDDLE_INT8_PACKED)
  plan.packs = !p.rowwise && p.m >= int8_gemm_rows;
  if (plan.packs) {
    const PanelPlan panel = panel_plan(p.w_type);
    const int64_t panel_bytes = round_up(units * panel.unit_bytes, 64);
    rows = round_up(rows, gemm_rows);
    plan.panels = padded(threads * panels_per_task(p, panel_bytes, threads) * panel_bytes);
    plan.values = padded(rows * p.k * panel.width), plan.scales = padded(rows * units * 4), plan.sums = padded(rows * units * 8);
    plan.totals = plan.sums;
    return plan;
  }
  const int64_t stride = round_up(units, 8);  // scales are read in eights
  plan.values = padded(rows * stride * unit), plan.scales = padded(rows * stride * 8), plan.totals = padded(rows * stride * 8);
  plan.starts = padded(rows * stride * 32);
#else
  (void)threads;
  plan.values = padded(rows * p.k), plan.scales = padded(rows * units * 4), plan.sums = padded(rows * units * 8);
#endif
  return plan;
}
// The most that fewer rows may take as well: a program's scratch is sized by its bounds.
inline size_t int8_scratch(QuantLinear p, int threads) {
  size_t most = plan_int8(p, threads).bytes();
#if defined(HEDDLE_INT8_PACKED)
  if (p.m >= int8_gemm_rows && !p.rowwise) {
    p.m = int8_gemm_rows - 1;
    most = max_of(most, plan_int8(p, threads).bytes());
  }
#endif
  return most;
}
inline void int8_linear(const QuantLinear& p, Pool& pool, void* scratch) {
  const Int8Plan plan = plan_int8(p, pool.threads());
  char* at = static_cast<char*>(scratch);
  const auto take = [&](size_t bytes) {
    char* taken = at;
    at += bytes;
    return taken;
  };
  Int8Rows x{};
  x.values = reinterpret_cast<int8_t*>(take(plan.values)), x.scales = reinterpret_cast<float*>(take(plan.scales));
  x.sums = reinterpret_cast<int32_t*>(take(plan.sums)), x.totals = reinterpret_cast<float*>(take(plan.totals));
  x.starts = reinterpret_cast<int32_t*>(take(plan.starts)), x.stride = round_up(p.k / unit, 8), x.rows = p.m;
#if defined(HEDDLE_INT8_PACKED)
  if (plan.packs) {
    const PanelPlan panel = panel_plan(p.w_type);
    return panel.run(p, panel.offset, x, pool, reinterpret_cast<uint8_t*>(at));
  }
#endif
  int8_dot(p, x, pool);
}

// n elements (whole blocks) as numbers, as dequantise() makes them.
inline void blocks_to_numbers(const QuantType& t, const void* from, int64_t n, float* to) {
  alignas(64) int8_t q[span];
  float scale[most_groups], minimum[most_groups];
  const uint8_t* block = static_cast<const uint8_t*>(from);
  for (int64_t i = 0; i < n; i += span, block += quant_row_bytes(t, span)) {
    const int count = static_cast<int>(min_of<int64_t>(span, n - i));
    t.unpack(block, count / t.elements, q, scale, minimum);
    for (int g = 0; g < count / t.group; ++g)
      for (int e = g * t.group; e < (g + 1) * t.group; e += W) {
        const F product = mul(set1(scale[g]), load(q + e));
        store(to + i + e, t.minimum ? add(product, set1(minimum[g])) : product);
      }
  }
}

// Rows [first, first + count) of w (., k) as numbers.
inline void dequantise_rows(DType type, const void* w, int64_t k, int64_t first, int64_t count, float* to, Pool& pool) {
  const QuantType& t = quant_type(type);
  const int64_t row_bytes = quant_row_bytes(t, k);
  pool.range(count, max_of<int64_t>(1, 8192 / max_of<int64_t>(1, k)), [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; ++r) blocks_to_numbers(t, static_cast<const char*>(w) + (first + r) * row_bytes, k, to + r * k);
  });
}

// Rows of w that are numbers at one time: about a megabyte.
inline int64_t exact_rows(const QuantLinear& p) {
  const int64_t fit = max_of<int64_t>(1, 262144 / max_of<int64_t>(1, p.k)) / 16 * 16;
  return min_of(max_of<int64_t>(16, fit), round_up(p.n, 16));
}
inline size_t exact_bytes(const QuantLinear& p) { return static_cast<size_t>(round_up(exact_rows(p) * p.k * 4, 64)); }

#if !defined(HEDDLE_INT8_PACKED)
inline size_t quant_packed_bytes(DType, int64_t, int64_t) { return 0; }
inline void quant_pack(const QuantLinear&, void*, Pool&) {}
inline size_t packed_scratch(const QuantLinear&, int) { return 0; }
inline void packed_linears(const QuantLinear*, int, Pool&, void*) {}
#endif

inline size_t quant_linear_scratch(const QuantLinear& p, int threads) {
  if (p.int8) return max_of(int8_scratch(p, threads), packed_scratch(p, threads));
  return exact_bytes(p) + gemm_scratch(p.m, exact_rows(p), p.k, threads);
}

inline void quant_linear(const QuantLinear& p, Pool& pool, void* scratch) {
  if (p.m == 0 || p.n == 0) return;
  if (p.int8) return p.packed || p.unpacked ? packed_linears(&p, 1, pool, scratch) : int8_linear(p, pool, scratch);
  float* rows = static_cast<float*>(scratch);
  void* rest = static_cast<char*>(scratch) + exact_bytes(p);
  const int64_t step = exact_rows(p), y_bytes = p.y_type == DType::f32 ? 4 : 2;
  for (int64_t j = 0; j < p.n; j += step) {
    Gemm g{};
    g.m = p.m, g.n = min_of(step, p.n - j), g.k = p.k;
    dequantise_rows(p.w_type, p.w, p.k, j, g.n, rows, pool);
    g.a = p.x, g.a_type = p.x_type, g.lda = p.k;
    g.b = rows, g.b_type = DType::f32, g.ldb = p.k, g.b_transposed = true;
    g.c = static_cast<char*>(p.y) + j * y_bytes, g.c_type = p.y_type, g.ldc = p.n;
    if (p.bias) g.bias = static_cast<const char*>(p.bias) + j * (p.bias_type == DType::f32 ? 4 : 2), g.bias_type = p.bias_type;
    g.rowwise = p.rowwise;
    gemm(g, pool, rest);
  }
}

// Several weights by one x: those in the same packed form share its rounding, and one loop of the pool.
inline void quant_linears(const QuantLinear* p, int count, Pool& pool, void* scratch) {
  for (int i = 0, end = 0; i < count; i = end) {
    const auto alike = [&](const QuantLinear& o) { return o.int8 && (o.packed || o.unpacked) && o.m > 0 && o.n > 0 && o.w_type == p[i].w_type; };
    for (end = i; end < count && alike(p[end]);) ++end;
    if (end > i) packed_linears(p + i, end - i, pool, scratch);
    else quant_linear(p[end++], pool, scratch);
  }
}

// Sums in f32 of an x that cannot hold them.
inline size_t backward_sums(const QuantLinear& p) {
  return p.x_type == DType::f32 ? 0 : static_cast<size_t>(round_up(p.m * p.k * 4, 64));
}
inline size_t quant_backward_scratch(const QuantLinear& p, int threads) {
  return exact_bytes(p) + backward_sums(p) + gemm_scratch(p.m, p.k, exact_rows(p), threads);
}
inline void quant_backward(const QuantLinear& p, Pool& pool, void* scratch) {
  if (p.m == 0 || p.k == 0) return;
  float* rows = static_cast<float*>(scratch);
  char* at = static_cast<char*>(scratch) + exact_bytes(p);
  float* sums = backward_sums(p) ? reinterpret_cast<float*>(at) : static_cast<float*>(p.dx);
  void* rest = at + backward_sums(p);
  const int64_t step = exact_rows(p), y_bytes = p.y_type == DType::f32 ? 4 : 2;
  for (int64_t j = 0; j < p.n || j == 0; j += step) {
    Gemm g{};
    g.m = p.m, g.n = p.k, g.k = min_of(step, p.n - j);
    dequantise_rows(p.w_type, p.w, p.k, j, g.k, rows, pool);
    g.a = static_cast<const char*>(p.y) + j * y_bytes, g.a_type = p.y_type, g.lda = p.n;
    g.b = rows, g.b_type = DType::f32, g.ldb = p.k;
    g.c = sums, g.c_type = DType::f32, g.ldc = p.k, g.accumulate = j > 0;
    gemm(g, pool, rest);
  }
  if (p.x_type != DType::f32) convert_range(sums, DType::f32, p.dx, p.x_type, 0, p.m * p.k);
}

}  // namespace HEDDLE_ISA
}  // namespace heddle
