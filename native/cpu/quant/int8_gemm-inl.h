// Products with many rows of activations (a prompt, a batch). Weights are unpacked into panels of gemm_columns outputs.
// A lane holds neighboring elements of one output: four bytes or two 16-bit integers. All rows are multiplied by a
// panel while it is in cache.
#pragma once
#include "cpu/quant/int8_dot-inl.h"

namespace heddle {
namespace HEDDLE_ISA {

#if defined(HEDDLE_INT8_PACKED)
#if defined(HEDDLE_SIMD_AVX512)
HEDDLE_SIMD Lanes load_lanes(const void* p) { return _mm512_loadu_si512(p); }
HEDDLE_SIMD void store_lanes(void* p, Lanes v) { _mm512_storeu_si512(p, v); }
HEDDLE_SIMD Lanes same_lanes(int32_t v) { return _mm512_set1_epi32(v); }
constexpr int gemm_rows = 12, gemm_vectors = 1;
#else
HEDDLE_SIMD Lanes load_lanes(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
HEDDLE_SIMD void store_lanes(void* p, Lanes v) { _mm256_storeu_si256(static_cast<__m256i*>(p), v); }
HEDDLE_SIMD Lanes same_lanes(int32_t v) { return _mm256_set1_epi32(v); }
HEDDLE_SIMD Lanes pair_products8(Lanes w, Lanes x) { return _mm256_maddubs_epi16(w, x); }
HEDDLE_SIMD Lanes pair_products16(Lanes w, Lanes x) { return _mm256_madd_epi16(w, x); }
HEDDLE_SIMD Lanes plus16(Lanes a, Lanes b) { return _mm256_add_epi16(a, b); }
HEDDLE_SIMD Lanes ones16() { return _mm256_set1_epi16(1); }
HEDDLE_SIMD Lanes magnitude8(Lanes v) { return _mm256_abs_epi8(v); }
// Returns 0xff for each byte below zero, otherwise 0.
HEDDLE_SIMD Lanes below8(Lanes v) { return _mm256_cmpgt_epi8(_mm256_setzero_si256(), v); }
// Returns -1 - v for bytes with a set mask, otherwise v.
HEDDLE_SIMD Lanes flipped8(Lanes v, Lanes mask) { return _mm256_xor_si256(v, mask); }
HEDDLE_SIMD Lanes with_sign8(Lanes v, Lanes sign) { return _mm256_sign_epi8(v, sign); }
constexpr int gemm_rows = 4, gemm_vectors = 2;
#endif
constexpr int gemm_columns = gemm_vectors * W;  // outputs of a panel

// Pins a sum to its register. Compilers would reorder integer additions and then run out of registers.
#if defined(HEDDLE_EMULATE_AVX512)
#define HEDDLE_IN_PLACE(v) (void)(v)
#else
#define HEDDLE_IN_PLACE(v) asm("" : "+v"(v))
#endif

// RUN selects how products are added up. RUN > 0: 8-bit operands are added up in 16 bits for RUN steps, which cannot
// overflow, and then in 32 bits. RUN = 0: one such step could overflow, so operands have 16 bits and sums 32. RUN = -1:
// an instruction adds four products of bytes to 32 bits.
template <int HALVES, bool MINIMUM, int RUN> struct PanelForm {
  static constexpr int halves = HALVES;            // groups per unit
  static constexpr int steps = unit / 4 / HALVES;  // steps of four elements per group
  static constexpr int width = RUN == 0 ? 2 : 1;   // bytes per operand
  static constexpr int run = RUN < steps ? RUN : steps;
  static constexpr bool in16 = RUN > 0, minimum = MINIMUM;
  static constexpr int unit_bytes = gemm_columns * (unit * width + halves * 4 * (MINIMUM ? 2 : 1));
};

// One step: multiplies four elements of R rows by those of a panel, or two elements if operands have 16 bits.
template <class P, int R, bool IN16>
HEDDLE_SIMD void int8_step(const uint8_t* w, const int8_t* x, Lanes (&sum)[R][gemm_vectors]) {
  Lanes b[gemm_vectors];
#pragma GCC unroll 2
  for (int c = 0; c < gemm_vectors; ++c) b[c] = load_lanes(w + c * 4 * W);
#pragma GCC unroll 12
  for (int r = 0; r < R; ++r) {
    int32_t bits;
    __builtin_memcpy(&bits, x + r * unit * P::width, 4);
    const Lanes a = same_lanes(bits);
#pragma GCC unroll 2
    for (int c = 0; c < gemm_vectors; ++c) {
#if defined(HEDDLE_SIMD_AVX512)
      sum[r][c] = _mm512_dpbusd_epi32(sum[r][c], b[c], a);
#else
      if (IN16) sum[r][c] = plus16(sum[r][c], pair_products8(b[c], a));
#if defined(HEDDLE_DOT_OF_FOUR)
      else sum[r][c] = dot_of_four(sum[r][c], b[c], a);
#else
      else sum[r][c] = plus(sum[r][c], pair_products16(b[c], a));
#endif
#endif
      HEDDLE_IN_PLACE(sum[r][c]);
    }
  }
}

#if defined(HEDDLE_SIMD_AVX512)
// Multiplies R rows by a panel's outputs over all units, with all sums in registers. x: (units, R, unit) integers.
// scales: (units, R). starts and totals: (units, R, 2), with an entry for each group of the unit. `starts` holds minus
// the weights' offset times the group's sum. `totals` holds the group's sum times the scale.
template <class P, int R>
[[gnu::noinline]] void int8_tile(int64_t units, const int8_t* x, const float* scales, const int32_t* starts,
    const float* totals, const uint8_t* w, float* out) {
  F sum[R];
#pragma GCC unroll 12
  for (int r = 0; r < R; ++r) sum[r] = zero();
#pragma GCC unroll 1
  for (int64_t u = 0; u < units; ++u) {
    const float* scale = reinterpret_cast<const float*>(w + unit * gemm_columns);
#pragma GCC unroll 2
    for (int h = 0; h < P::halves; ++h) {
      Lanes dot[R][1];
#pragma GCC unroll 12
      for (int r = 0; r < R; ++r) dot[r][0] = same_lanes(starts[2 * r + h]);
#pragma GCC unroll 8
      for (int s = h * P::steps; s < (h + 1) * P::steps; ++s)
        int8_step<P, R, false>(w + s * 4 * gemm_columns, x + 4 * s, dot);
      const F own = load(scale + h * gemm_columns);
#pragma GCC unroll 12
      for (int r = 0; r < R; ++r) {
        sum[r] = fma(mul(own, set1(scales[r])), numbers(dot[r][0]), sum[r]);
        if (P::minimum) sum[r] = fma(load(scale + (P::halves + h) * gemm_columns), set1(totals[2 * r + h]), sum[r]);
        HEDDLE_IN_PLACE(sum[r]);
      }
    }
    x += R * unit, scales += R, starts += 2 * R, totals += 2 * R, w += P::unit_bytes;
  }
#pragma GCC unroll 12
  for (int r = 0; r < R; ++r) store(out + r * gemm_columns, sum[r]);
}
#else
// Multiplies R rows by a panel's outputs over all units. x: (units, R, unit) integers, scales: (units, R), sums:
// (units, R, 2). `offset` has been added to the weights' integers.
template <class P, int R>
[[gnu::noinline]] void int8_tile(int64_t units, int offset, const int8_t* x, const float* scales, const int32_t* sums,
    const uint8_t* w, float* out) {
  constexpr int C = gemm_vectors;
  for (int i = 0; i < R * gemm_columns; i += W) store(out + i, zero());
#pragma GCC unroll 1
  for (int64_t u = 0; u < units; ++u) {
    const float* scale = reinterpret_cast<const float*>(w + unit * gemm_columns * P::width);
    const float* minimum = scale + P::halves * gemm_columns;
#pragma GCC unroll 2
    for (int h = 0; h < P::halves; ++h) {
      Lanes dot[R][C];
      int32_t total[R];
#pragma GCC unroll 12
      for (int r = 0; r < R; ++r) {
        total[r] = P::halves == 2 ? sums[2 * r + h] : sums[2 * r] + sums[2 * r + 1];
        for (int c = 0; c < C; ++c) dot[r][c] = same_lanes(-offset * total[r]);
      }
      const uint8_t* ws = w + h * P::steps * P::width * 4 * gemm_columns;
      const int8_t* xs = x + h * P::steps * P::width * 4;
      if (P::in16) {
#pragma GCC unroll 2
        for (int s0 = 0; s0 < P::steps; s0 += P::run) {
          Lanes part[R][C];
#pragma GCC unroll 12
          for (int r = 0; r < R; ++r)
            for (int c = 0; c < C; ++c) part[r][c] = same_lanes(0);
#pragma GCC unroll 8
          for (int s = s0; s < s0 + P::run; ++s) int8_step<P, R, true>(ws + s * 4 * gemm_columns, xs + 4 * s, part);
#pragma GCC unroll 12
          for (int r = 0; r < R; ++r)
            for (int c = 0; c < C; ++c) dot[r][c] = plus(dot[r][c], pair_products16(part[r][c], ones16()));
        }
      } else {
#pragma GCC unroll 16
        for (int s = 0; s < P::steps * P::width; ++s)
          int8_step<P, R, false>(ws + s * 4 * gemm_columns, xs + 4 * s, dot);
      }
#pragma GCC unroll 12
      for (int r = 0; r < R; ++r)
        for (int c = 0; c < C; ++c) {
          float* to = out + r * gemm_columns + c * W;
          F sum = fma(mul(load(scale + h * gemm_columns + c * W), set1(scales[r])), numbers(dot[r][c]), load(to));
          if (P::minimum)
            sum = fma(load(minimum + h * gemm_columns + c * W),
                mul(set1(scales[r]), set1(static_cast<float>(total[r]))), sum);
          store(to, sum);
        }
    }
    x += R * unit * P::width, scales += R, sums += 2 * R, w += P::unit_bytes;
  }
}

#endif

// Packs the weights of outputs [j, j + gemm_columns) as a panel. Outputs beyond the last one become zero.
template <class P> void pack_panel8(const QuantLinear& p, const QuantType& t, int offset, int64_t j, uint8_t* to) {
  constexpr int N = gemm_columns;
  const int64_t row_bytes = quant_row_bytes(t, p.k);
  const int have = static_cast<int>(min_of<int64_t>(N, p.n - j));
  const uint8_t* from = static_cast<const uint8_t*>(p.w) + j * row_bytes;
  alignas(64) int8_t q[N][span];
  float scale[N][max_groups], minimum[N][max_groups];
  for (int r = have; r < N; ++r) {
    for (int e = 0; e < span; ++e) q[r][e] = 0;
    for (int g = 0; g < max_groups; ++g) scale[r][g] = minimum[r][g] = 0;
  }
  for (int64_t k0 = 0; k0 < p.k; k0 += span) {
    const int count = static_cast<int>(min_of<int64_t>(span, p.k - k0));
    for (int r = 0; r < have; ++r)
      t.unpack(from + r * row_bytes + quant_row_bytes(t, k0), count / t.elements, q[r], scale[r], minimum[r]);
    for (int u = 0; u < count / unit; ++u, to += P::unit_bytes) {
#if defined(HEDDLE_SIMD_AVX512)
      F lines[16];  // two units; each lane has four elements
      if (u % 2 == 0) {
#pragma GCC unroll 16
        for (int r = 0; r < N; ++r)
          lines[r] = _mm512_castsi512_ps(
              _mm512_add_epi8(_mm512_loadu_si512(q[r] + u * unit), _mm512_set1_epi8(static_cast<char>(offset))));
        transpose(lines);
#pragma GCC unroll 8
        for (int s = 0; s < 8; ++s) store(reinterpret_cast<float*>(to + s * 4 * N), lines[s]);
        if (u + 1 < count / unit)
#pragma GCC unroll 8
          for (int s = 0; s < 8; ++s) store(reinterpret_cast<float*>(to + P::unit_bytes + s * 4 * N), lines[8 + s]);
      }
#else
      for (int r = 0; r < N; ++r) {
        const int8_t* integers = q[r] + u * unit;
        if (P::width == 2) {
          alignas(64) int16_t words[unit];
          for (int e = 0; e < unit; ++e) words[e] = integers[e];
          for (int s = 0; s < unit / 2; ++s) __builtin_memcpy(to + (s * N + r) * 4, words + 2 * s, 4);
        } else {
          alignas(64) uint8_t bytes[unit];
          for (int e = 0; e < unit; ++e) bytes[e] = static_cast<uint8_t>(integers[e] + offset);
          for (int s = 0; s < unit / 4; ++s) __builtin_memcpy(to + (s * N + r) * 4, bytes + 4 * s, 4);
        }
      }
#endif
      float* scales = reinterpret_cast<float*>(to + unit * N * P::width);
      for (int h = 0; h < P::halves; ++h)
        for (int r = 0; r < N; ++r) {
          scales[h * N + r] = scale[r][u * P::halves + h];
          if (P::minimum) scales[(P::halves + h) * N + r] = minimum[r][u * P::halves + h];
        }
    }
  }
}

// Rounds the rows into panels of gemm_rows. Rows beyond the last one become zero.
template <int WIDTH>
void round_panels(const QuantLinear& p, [[maybe_unused]] int offset, const Int8Rows& x, Pool& pool) {
  constexpr int R = gemm_rows;
  const int64_t units = p.k / unit, panels = ceil_div(p.m, R);
  pool.range(panels * units, 64, [&](int64_t begin, int64_t end, int) {
    for (int64_t at = begin; at < end; ++at)
      for (int r = 0; r < R; ++r) {
        alignas(64) float numbers[unit] = {};
        int8_t q[unit];
        const int64_t row = at / units * R + r;
        if (row < p.m) load_unit(p, row, at % units, numbers);
        int32_t* sums = x.sums + 2 * (at * R + r);
        round_unit(numbers, q, x.scales + at * R + r, sums);
#if defined(HEDDLE_SIMD_AVX512)
        if (quant_type(p.w_type).group == unit) sums[0] += sums[1];
        for (int h = 0; h < 2; ++h) {
          x.totals[2 * (at * R + r) + h] = x.scales[at * R + r] * static_cast<float>(sums[h]);
          sums[h] *= -offset;
        }
#endif
        int8_t* to = x.values + (at * R + r) * unit * WIDTH;
        if (WIDTH == 2) {
          int16_t* wide = reinterpret_cast<int16_t*>(to);
          for (int e = 0; e < unit; ++e) wide[e] = q[e];
        } else {
          for (int e = 0; e < unit; ++e) to[e] = q[e];
        }
      }
  });
}

// Returns the number of panels that one task packs: they must fit into cache, and tasks must balance the threads.
inline int64_t panels_per_task(const QuantLinear& p, int64_t panel_bytes, int threads) {
  const int64_t all = ceil_div(p.n, gemm_columns), fit = max_of<int64_t>(1, 131072 / max_of<int64_t>(1, panel_bytes));
  return min_of(min_of<int64_t>(fit, 8), max_of<int64_t>(1, all / (4 * threads)));
}

template <class P> void gemm_panels(const QuantLinear& p, int offset, const Int8Rows& x, Pool& pool, uint8_t* panels) {
  constexpr int R = gemm_rows;
  round_panels<P::width>(p, offset, x, pool);
  const QuantType& type = quant_type(p.w_type);
  const int64_t units = p.k / unit, bytes = round_up(units * P::unit_bytes, 64),
                per_task = panels_per_task(p, bytes, pool.threads());
  pool.run(ceil_div(ceil_div(p.n, gemm_columns), per_task), [&](int64_t task, int thread) {
    uint8_t* mine = panels + thread * per_task * bytes;
    const int64_t j0 = task * per_task * gemm_columns, count = min_of(per_task, ceil_div(p.n - j0, gemm_columns));
    for (int64_t c = 0; c < count; ++c) pack_panel8<P>(p, type, offset, j0 + c * gemm_columns, mine + c * bytes);
    for (int64_t i = 0; i < p.m; i += R)
      for (int64_t c = 0; c < count; ++c) {
        alignas(64) float out[R * gemm_columns];
        const int64_t at = i / R * units * R, j = j0 + c * gemm_columns;
#if defined(HEDDLE_SIMD_AVX512)
        int8_tile<P, R>(
            units, x.values + at * unit, x.scales + at, x.sums + 2 * at, x.totals + 2 * at, mine + c * bytes, out);
#else
        int8_tile<P, R>(
            units, offset, x.values + at * unit * P::width, x.scales + at, x.sums + 2 * at, mine + c * bytes, out);
#endif
        for (int64_t r = 0; r < min_of<int64_t>(R, p.m - i); ++r)
          for (int64_t v = 0; v < gemm_columns && j + v < p.n; v += W)
            write_int8(p, i + r, j + v, p.n - j - v, load(out + r * gemm_columns + v));
      }
  });
}

// The panel layout of a type, and the product that uses it.
struct PanelPlan {
  int width, offset;
  int64_t unit_bytes;
  void (*run)(const QuantLinear&, int offset, const Int8Rows&, Pool&, uint8_t* panels);
};
template <int HALVES, bool MINIMUM, int RUN> PanelPlan panel_plan(int offset) {
  using P = PanelForm<HALVES, MINIMUM, RUN>;
  return {P::width, offset, P::unit_bytes, gemm_panels<P>};
}
inline PanelPlan panel_plan(DType type) {
  const QuantType& t = quant_type(type);
  const bool whole = t.group == unit;
#if defined(HEDDLE_DOT_OF_FOUR)
  if (whole) return t.minimum ? panel_plan<1, true, -1>(128) : panel_plan<1, false, -1>(128);
  return t.minimum ? panel_plan<2, true, -1>(128) : panel_plan<2, false, -1>(128);
#else
  // Maximum steps whose sum fits 16 bits. A step adds two products of at most 127 * (high - low).
  const int steps = 32767 / (2 * 127 * (t.high - t.low));
  if (steps >= 8 && whole) return t.minimum ? panel_plan<1, true, 8>(-t.low) : panel_plan<1, false, 8>(-t.low);
  if (steps >= 4 && whole) return t.minimum ? panel_plan<1, true, 4>(-t.low) : panel_plan<1, false, 4>(-t.low);
  if (steps >= 4) return t.minimum ? panel_plan<2, true, 4>(-t.low) : panel_plan<2, false, 4>(-t.low);
  if (steps >= 2 && !whole && !t.minimum) return panel_plan<2, false, 2>(-t.low);
  if (whole) return t.minimum ? panel_plan<1, true, 0>(0) : panel_plan<1, false, 0>(0);
  return t.minimum ? panel_plan<2, true, 0>(0) : panel_plan<2, false, 0>(0);
#endif
}
#else
constexpr int gemm_rows = 1;
#endif

}  // namespace HEDDLE_ISA
}  // namespace heddle
