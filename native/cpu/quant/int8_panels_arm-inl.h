// Products with many rows of activations on arm64, with the dot product of four bytes or with 2 x 2 matrix products of
// eight bytes. Weights are unpacked into panels of eight outputs. All rows are multiplied by a panel while it is in
// cache. Integer sums are exact, and each output is added up in the order of dot_tile (int8_dot-inl.h). Its bits
// therefore equal those of the `neon` kernels.
#pragma once
#include "cpu/quant/int8_dot-inl.h"

namespace heddle {
namespace HEDDLE_ISA {

#if defined(HEDDLE_SIMD_DOT)
constexpr int arm_rows = 4, arm_outputs = 2 * W;
// Number of consecutive bytes of one output that an instruction multiplies. A panel interleaves its outputs in chunks
// of this size. With chunks of eight, rows are interleaved in pairs as well.
#if defined(HEDDLE_SIMD_I8MM)
constexpr int arm_chunk = 8;
#else
constexpr int arm_chunk = 4;
#endif

// Pins a sum to its register. Compilers would finish one sum after the other, in one long chain of dependent products.
template <class V> HEDDLE_SIMD void pin(V& v) { asm("" : "+w"(v)); }
// Keeps compilers from moving later loads to before this call. Such early loads would take registers that the sums
// need.
HEDDLE_SIMD void load_later() { asm("" ::: "memory"); }

// A unit of a panel: arm_outputs times 32 integers, their scales, and their minima.
template <int HALVES, bool MINIMUM> struct ArmPanel {
  static constexpr int halves = HALVES;  // groups per unit
  static constexpr bool minimum = MINIMUM;
  static constexpr int unit_bytes = arm_outputs * (unit + halves * 4 * (MINIMUM ? 2 : 1));
};

#if defined(HEDDLE_SIMD_I8MM)
// Multiplies half H of a unit, or the whole unit if HALVES is 1. x: pairs of rows, with eight bytes of each row in
// turn. w: all outputs, with eight bytes of each in turn.
template <int HALVES, int H>
HEDDLE_SIMD void group_products(const int8_t* x, const int8_t* w, int32x4_t (&dot)[arm_rows][2]) {
  int32x4_t sum[arm_rows / 2][arm_outputs / 2];
#pragma GCC unroll 2
  for (int r = 0; r < arm_rows / 2; ++r)
#pragma GCC unroll 4
    for (int o = 0; o < arm_outputs / 2; ++o) sum[r][o] = vdupq_n_s32(0);
#pragma GCC unroll 4
  for (int c = H * 4 / HALVES; c < (H + 1) * 4 / HALVES; ++c) {
    load_later();
    int8x16_t outputs[arm_outputs / 2];
#pragma GCC unroll 4
    for (int o = 0; o < arm_outputs / 2; ++o) outputs[o] = vld1q_s8(w + c * 8 * arm_outputs + 16 * o);
#pragma GCC unroll 2
    for (int r = 0; r < arm_rows / 2; ++r) {
      const int8x16_t rows = vld1q_s8(x + r * 2 * unit + 16 * c);
#pragma GCC unroll 4
      for (int o = 0; o < arm_outputs / 2; ++o) sum[r][o] = vmmlaq_s32(sum[r][o], rows, outputs[o]), pin(sum[r][o]);
    }
  }
  const auto two = [](int32x4_t v) HEDDLE_INLINE_LAMBDA { return vreinterpretq_s64_s32(v); };
#pragma GCC unroll 2
  for (int r = 0; r < arm_rows / 2; ++r)  // a sum holds two outputs of one row, then the same two of the next row
#pragma GCC unroll 2
    for (int v = 0; v < 2; ++v) {
      dot[2 * r][v] = vreinterpretq_s32_s64(vzip1q_s64(two(sum[r][2 * v]), two(sum[r][2 * v + 1])));
      dot[2 * r + 1][v] = vreinterpretq_s32_s64(vzip2q_s64(two(sum[r][2 * v]), two(sum[r][2 * v + 1])));
    }
}
#else
// Adds the products of elements 4 S to 4 S + 3 of x.
template <int S>
HEDDLE_SIMD void step_products(const int8x16_t (&x)[arm_rows], const int8_t* w, int32x4_t (&dot)[arm_rows][2]) {
  const int8x16_t low = vld1q_s8(w + S * 4 * arm_outputs), high = vld1q_s8(w + S * 4 * arm_outputs + 16);
#pragma GCC unroll 4
  for (int r = 0; r < arm_rows; ++r) {
    dot[r][0] = vdotq_laneq_s32(dot[r][0], low, x[r], S);
    dot[r][1] = vdotq_laneq_s32(dot[r][1], high, x[r], S);
    pin(dot[r][0]), pin(dot[r][1]);
  }
}
// Multiplies half H of a unit, or the whole unit if HALVES is 1. x: rows one after the other. w: four elements of each
// output in turn.
template <int HALVES, int H>
HEDDLE_SIMD void group_products(const int8_t* x, const int8_t* w, int32x4_t (&dot)[arm_rows][2]) {
#pragma GCC unroll 4
  for (int r = 0; r < arm_rows; ++r) dot[r][0] = dot[r][1] = vdupq_n_s32(0);
#pragma GCC unroll 2
  for (int at = H * 16; at < (HALVES == 1 ? unit : (H + 1) * 16); at += 16) {
    load_later();
    int8x16_t rows[arm_rows];
#pragma GCC unroll 4
    for (int r = 0; r < arm_rows; ++r) rows[r] = vld1q_s8(x + r * unit + at);
    const int8_t* from = w + at * arm_outputs;
    step_products<0>(rows, from, dot), step_products<1>(rows, from, dot);
    step_products<2>(rows, from, dot), step_products<3>(rows, from, dot);
  }
}
#endif

// Adds the products of group H of a unit to `sum`. scale: the scales of the unit, then its minima.
template <class P, int H>
HEDDLE_SIMD void add_group(const int8_t* x, const float* scales, const float* totals, const uint8_t* w,
    const float* scale, F (&sum)[arm_rows][2]) {
  int32x4_t dot[arm_rows][2];
  group_products<P::halves, H>(x, reinterpret_cast<const int8_t*>(w), dot);
  load_later();
  const float* minimum = scale + P::halves * arm_outputs;
#pragma GCC unroll 2
  for (int v = 0; v < 2; ++v) {
    const F own = load(scale + H * arm_outputs + v * W);
    const F lowest = P::minimum ? load(minimum + H * arm_outputs + v * W) : zero();
#pragma GCC unroll 4
    for (int r = 0; r < arm_rows; ++r) {
      const F number = reinterpret_cast<F>(vcvtq_f32_s32(dot[r][v]));
      sum[r][v] = fma(mul(own, set1(scales[r])), number, sum[r][v]);
      if (P::minimum) sum[r][v] = fma(lowest, set1(totals[2 * r + H]), sum[r][v]);
      pin(sum[r][v]);
    }
  }
}
// Multiplies arm_rows rows by a panel over all units, with the sums in registers. x: (units, rows, unit) integers,
// scales: (units, rows), totals: (units, rows, 2), a scale times the sum of each group.
template <class P>
[[gnu::noinline]] void arm_tile(
    int64_t units, const int8_t* x, const float* scales, const float* totals, const uint8_t* w, float* out) {
  F sum[arm_rows][2];
#pragma GCC unroll 4
  for (int r = 0; r < arm_rows; ++r) sum[r][0] = sum[r][1] = zero();
#pragma GCC unroll 1
  for (int64_t u = 0; u < units; ++u) {
    const float* scale = reinterpret_cast<const float*>(w + unit * arm_outputs);
    add_group<P, 0>(x, scales, totals, w, scale, sum);
    if constexpr (P::halves == 2) add_group<P, 1>(x, scales, totals, w, scale, sum);
    x += arm_rows * unit, scales += arm_rows, totals += 2 * arm_rows, w += P::unit_bytes;
  }
#pragma GCC unroll 4
  for (int r = 0; r < arm_rows; ++r)
    store(out + r * arm_outputs, sum[r][0]), store(out + r * arm_outputs + W, sum[r][1]);
}

// Unpacks outputs [j, j + arm_outputs) as a panel. Outputs beyond the last one become zero.
template <class P> void arm_pack(const QuantLinear& p, const QuantType& t, int64_t j, uint8_t* to) {
  constexpr int N = arm_outputs;
  const int64_t row_bytes = quant_row_bytes(t, p.k);
  const int have = static_cast<int>(min_of<int64_t>(N, p.n - j));
  const uint8_t* from = static_cast<const uint8_t*>(p.w) + j * row_bytes;
  alignas(64) int8_t q[N][span] = {};
  float scale[N][max_groups] = {}, minimum[N][max_groups] = {};
  for (int64_t k0 = 0; k0 < p.k; k0 += span) {
    const int count = static_cast<int>(min_of<int64_t>(span, p.k - k0));
    for (int r = 0; r < have; ++r)
      t.unpack(from + r * row_bytes + quant_row_bytes(t, k0), count / t.elements, q[r], scale[r], minimum[r]);
    for (int u = 0; u < count / unit; ++u, to += P::unit_bytes) {
      for (int r = 0; r < N; ++r)
        for (int s = 0; s < unit / arm_chunk; ++s)
          __builtin_memcpy(to + (s * N + r) * arm_chunk, q[r] + u * unit + s * arm_chunk, arm_chunk);
      float* scales = reinterpret_cast<float*>(to + unit * N);
      for (int h = 0; h < P::halves; ++h)
        for (int r = 0; r < N; ++r) {
          scales[h * N + r] = scale[r][u * P::halves + h];
          if (P::minimum) scales[(P::halves + h) * N + r] = minimum[r][u * P::halves + h];
        }
    }
  }
}

// Rounds the rows in groups of arm_rows. Rows beyond the last one become zero.
inline void arm_round(const QuantLinear& p, const Int8Rows& x, Pool& pool) {
  const int64_t units = p.k / unit, groups = ceil_div(p.m, arm_rows);
  pool.range(groups * units, 64, [&](int64_t begin, int64_t end, int) {
    for (int64_t at = begin; at < end; ++at)
      for (int r = 0; r < arm_rows; ++r) {
        alignas(64) float numbers[unit] = {};
        alignas(16) int8_t q[unit];
        const int64_t row = at / units * arm_rows + r, place = at * arm_rows + r;
        if (row < p.m) load_unit(p, row, at % units, numbers);
        int32_t sums[2];
        round_unit(numbers, q, x.scales + place, sums);
        if (quant_type(p.w_type).group == unit) sums[0] += sums[1];
        for (int h = 0; h < 2; ++h) x.totals[2 * place + h] = x.scales[place] * static_cast<float>(sums[h]);
        int8_t* to = x.values + at * arm_rows * unit;
        if (arm_chunk == 4) __builtin_memcpy(to + r * unit, q, unit);
        else
          for (int s = 0; s < unit / arm_chunk; ++s)
            __builtin_memcpy(to + r / 2 * 2 * unit + (2 * s + r % 2) * arm_chunk, q + s * arm_chunk, arm_chunk);
      }
  });
}

// Returns the number of panels that one task unpacks: they must fit into cache, and tasks must balance the threads.
inline int64_t arm_panels_per_task(const QuantLinear& p, int64_t panel_bytes, int threads) {
  const int64_t all = ceil_div(p.n, arm_outputs), fit = max_of<int64_t>(1, 131072 / max_of<int64_t>(1, panel_bytes));
  return min_of(min_of<int64_t>(fit, 8), max_of<int64_t>(1, all / (4 * threads)));
}

template <class P> void arm_products(const QuantLinear& p, const Int8Rows& x, Pool& pool, uint8_t* panels) {
  arm_round(p, x, pool);
  const QuantType& type = quant_type(p.w_type);
  const int64_t units = p.k / unit, bytes = units * P::unit_bytes,
                per_task = arm_panels_per_task(p, bytes, pool.threads());
  pool.run(ceil_div(ceil_div(p.n, arm_outputs), per_task), [&](int64_t task, int thread) {
    uint8_t* mine = panels + thread * per_task * bytes;
    const int64_t j0 = task * per_task * arm_outputs, count = min_of(per_task, ceil_div(p.n - j0, arm_outputs));
    for (int64_t c = 0; c < count; ++c) arm_pack<P>(p, type, j0 + c * arm_outputs, mine + c * bytes);
    for (int64_t i = 0; i < p.m; i += arm_rows)
      for (int64_t c = 0; c < count; ++c) {
        alignas(64) float out[arm_rows * arm_outputs];
        const int64_t at = i * units, j = j0 + c * arm_outputs;
        arm_tile<P>(units, x.values + at * unit, x.scales + at, x.totals + 2 * at, mine + c * bytes, out);
        for (int64_t r = 0; r < min_of<int64_t>(arm_rows, p.m - i); ++r)
          for (int64_t v = 0; v < arm_outputs && j + v < p.n; v += W)
            write_int8(p, i + r, j + v, p.n - j - v, load(out + r * arm_outputs + v));
      }
  });
}

// The bytes of a panel's unit, and the function that multiplies panels, for one type of weights.
struct ArmPlan {
  int64_t unit_bytes;
  void (*run)(const QuantLinear&, const Int8Rows&, Pool&, uint8_t* panels);
};
template <int HALVES, bool MINIMUM>
constexpr ArmPlan arm_plan_of = {ArmPanel<HALVES, MINIMUM>::unit_bytes, arm_products<ArmPanel<HALVES, MINIMUM>>};
inline ArmPlan arm_plan(DType type) {
  const QuantType& t = quant_type(type);
  if (t.group == unit) return t.minimum ? arm_plan_of<1, true> : arm_plan_of<1, false>;
  return t.minimum ? arm_plan_of<2, true> : arm_plan_of<2, false>;
}
#endif

}  // namespace HEDDLE_ISA
}  // namespace heddle
