// Linear layers with quantized weights, stored or packed, and 8-bit activations.
#pragma once
#include "cpu/quant/int8_gemm-inl.h"
#include "cpu/quant/int8_packed-inl.h"
#include "cpu/quant/int8_panels_arm-inl.h"

namespace heddle {
namespace HEDDLE_ISA {

#if !defined(HEDDLE_INT8_PACKED)
inline bool has_packed_form(DType) { return false; }
inline size_t quant_packed_bytes(DType, int64_t, int64_t) { return 0; }
inline void quant_pack(const QuantLinear&, void*, int64_t, int64_t, Pool&) {}
inline size_t packed_scratch(const QuantLinear&, int) { return 0; }
inline void packed_linears(const QuantLinear*, int, Pool&, void*) {}
#endif

// Minimum number of rows of activations for which unpacking weights into panels pays off.
#if defined(HEDDLE_SIMD_DOT)
constexpr int64_t int8_gemm_rows = dot_rows + 1;  // int8_dot-inl.h unpacks once for dot_rows rows
#else
constexpr int64_t int8_gemm_rows = 12;
#endif

struct Int8Plan {
  bool packs;                                           // whether weights are unpacked into panels
  size_t values, scales, sums, totals, starts, panels;  // bytes, each a multiple of 64
  size_t bytes() const { return values + scales + sums + totals + starts + panels; }
};
inline Int8Plan plan_int8(const QuantLinear& p, int threads) {
  Int8Plan plan{};
  const auto padded = [](int64_t bytes) { return static_cast<size_t>(padded_to_line(bytes)); };
  const int64_t units = p.k / unit;
  int64_t rows = max_of<int64_t>(1, p.m);
#if defined(HEDDLE_INT8_PACKED)
  plan.packs = !p.rowwise && p.m >= int8_gemm_rows;
  if (plan.packs) {
    const PanelPlan panel = panel_plan(p.w_type);
    const int64_t panel_bytes = round_up(units * panel.unit_bytes, 64);
    rows = round_up(rows, gemm_rows);
    plan.panels = padded(threads * panels_per_task(p, panel_bytes, threads) * panel_bytes);
    plan.values = padded(rows * p.k * panel.width), plan.scales = padded(rows * units * 4),
    plan.sums = padded(rows * units * 8);
    plan.totals = plan.sums;
    return plan;
  }
  const int64_t stride = round_up(units, 8);  // scales are read in eights
  plan.values = padded(rows * stride * unit), plan.scales = padded(rows * stride * 8),
  plan.totals = padded(rows * stride * 8);
  plan.starts = padded(rows * stride * 32);
#else
  (void)threads;
#if defined(HEDDLE_SIMD_DOT)
  plan.packs = p.m >= int8_gemm_rows;  // rowwise products too, because a row's bits are the same without panels
  if (plan.packs) {
    const int64_t panel_bytes = units * arm_plan(p.w_type).unit_bytes;
    rows = round_up(rows, arm_rows);
    plan.panels = padded(threads * arm_panels_per_task(p, panel_bytes, threads) * panel_bytes);
  }
#endif
  plan.values = padded(rows * p.k), plan.scales = padded(rows * units * 4);
  (plan.packs ? plan.totals : plan.sums) = padded(rows * units * 8);
#endif
  return plan;
}
// Returns the maximum scratch for p.m rows or fewer. Programs allocate scratch for an upper bound of the rows.
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
#elif defined(HEDDLE_SIMD_DOT)
  if (plan.packs) return arm_plan(p.w_type).run(p, x, pool, reinterpret_cast<uint8_t*>(at));
#endif
  int8_dot(p, x, pool);
}

inline size_t int8_linear_scratch(const QuantLinear& p, int threads) {
  return max_of(int8_scratch(p, threads), packed_scratch(p, threads));
}

// Multiplies one x by several weights. Types with a packed form always use its kernels, which also read stored weights.
// Weights of one such type share the rounding of x and one loop of the pool. `exact` computes products without rounding
// of activations.
inline void int8_linears(const QuantLinear* p, int count, Pool& pool, void* scratch,
    void (*exact)(const QuantLinear&, Pool&, void* scratch)) {
  for (int i = 0, end = 0; i < count; i = end) {
    const auto alike = [&](const QuantLinear& o) {
      return o.int8 && has_packed_form(o.w_type) && o.m > 0 && o.n > 0 && o.k > 0 && o.w_type == p[i].w_type;
    };
    for (end = i; end < count && alike(p[end]);) ++end;
    if (end > i) {
      packed_linears(p + i, end - i, pool, scratch);
      continue;
    }
    ++end;
    if (p[i].m == 0 || p[i].n == 0) continue;
    p[i].int8 ? int8_linear(p[i], pool, scratch) : exact(p[i], pool, scratch);
  }
}

}  // namespace HEDDLE_ISA
}  // namespace heddle
