// Quantizes floats, bit-equal to ops/quant_write.cc, which explains how scales are found. There, sums are sequential
// over a group and rounded at every step. Here, each lane holds the sum of a different group, and several candidates of
// the search are summed at once.
#pragma once
#include "cpu/simd/simd.h"
#include "ops/quant_write.h"

namespace heddle {
namespace HEDDLE_ISA {

constexpr int fit_groups = 16;  // groups per call: whole blocks of every type for any W

// Candidates of the search for a scale. Each is the code that a group's largest number is scaled to. With a minimum,
// the group's range is scaled instead. The candidates are `middle` and STEPS values on each side, 0.1 apart. AT_ONCE
// are tried at a time. The list is padded with its last value. A repeated value changes nothing, because a candidate
// must be better than the best so far.
template <int STEPS, int AT_ONCE> struct FitTargets {
  static constexpr int count = (2 * STEPS + AT_ONCE) / AT_ONCE * AT_ONCE;
  float value[count];
  constexpr explicit FitTargets(float middle) : value() {
    for (int i = 0; i < count; ++i)
      value[i] = middle + 0.1f * static_cast<float>((i < 2 * STEPS ? i : 2 * STEPS) - STEPS);
  }
};

// Returns 1 / v, or 0 if 1 / v is not finite.
HEDDLE_SIMD F inverse_of(F v) {
  const F i = div(set1(1.0f), v);
  return select_lt(abs(i), set1(-minus_infinity), i, zero());
}
// Rounds v to an integer in [low, high].
HEDDLE_SIMD F code_of(F v, F low, F high) { return min(high, max(low, round_even(v))); }

// Transposes W groups of N numbers: lane g of t[i] is number i of group g.
template <int N> HEDDLE_SIMD void side_by_side(const float* x, F (&t)[N]) {
  for (int i = 0; i < N; i += W) {
    F r[W];
    for (int g = 0; g < W; ++g) r[g] = load(x + g * N + i);
    transpose(r);
    for (int j = 0; j < W; ++j) t[i + j] = r[j];
  }
}

// Finds for 16 groups of N numbers the scales with the smallest error of scale * integers in [LOW, HIGH].
template <int N, int LOW, int HIGH> [[gnu::noinline]] void fit_scales(const float* groups, float* scale) {
  constexpr int at_once = 4;
  static constexpr FitTargets<scale_steps, at_once> targets(LOW);
  const F low = set1(LOW), high = set1(HIGH);
  for (int first = 0; first < fit_groups; first += W) {
    F x[N], extreme = zero();
    side_by_side<N>(groups + first * N, x);
    for (int i = 0; i < N; ++i) extreme = select_lt(abs(extreme), abs(x[i]), x[i], extreme);
    F best = div(extreme, low), least = set1(-minus_infinity);
    for (int step = 0; step < targets.count; step += at_once) {
      F inverse[at_once], xq[at_once], qq[at_once];
      for (int s = 0; s < at_once; ++s)
        inverse[s] = div(set1(targets.value[step + s]), extreme), xq[s] = qq[s] = zero();
      for (int i = 0; i < N; ++i)
#pragma GCC unroll 8
        for (int s = 0; s < at_once; ++s) {
          const F q = code_of(mul(x[i], inverse[s]), low, high);
          xq[s] = add(xq[s], rounded(mul(x[i], q)));
          qq[s] = fma(q, q, qq[s]);  // small integers: exact
        }
      for (int s = 0; s < at_once; ++s) {  // if all integers are zero, the error is NaN and never smaller
        const F error = div(mul(neg(xq[s]), xq[s]), qq[s]);
        best = select_lt(error, least, div(xq[s], qq[s]), best);
        least = select_lt(error, least, error, least);
      }
    }
    store(scale + first, select_lt(zero(), abs(extreme), best, zero()));
  }
}

// Finds scales and minimums with the smallest error, for groups of 32 and integers in [0, HIGH].
template <int HIGH> [[gnu::noinline]] void fit_affine(const float* groups, float* scale, float* minimum) {
  constexpr int N = 32, at_once = 3;
  static constexpr FitTargets<affine_steps, at_once> targets(HIGH);
  const F high = set1(HIGH), n = set1(N);
  for (int first = 0; first < fit_groups; first += W) {
    F x[N], above[N], q[N][at_once];
    side_by_side<N>(groups + first * N, x);
    F low_x = zero(), high_x = x[0], sum = zero();
    for (int i = 0; i < N; ++i) low_x = min(x[i], low_x), high_x = max(x[i], high_x), sum = add(sum, x[i]);
    for (int i = 0; i < N; ++i) above[i] = sub(x[i], low_x);
    const F range = sub(high_x, low_x);
    F best_scale = div(range, high), best_minimum = low_x, least = set1(-minus_infinity);
    for (int step = 0; step < targets.count; step += at_once) {
      F inverse[at_once], q1[at_once], qq[at_once], xq[at_once];
      for (int s = 0; s < at_once; ++s)
        inverse[s] = div(set1(targets.value[step + s]), range), q1[s] = qq[s] = xq[s] = zero();
      for (int i = 0; i < N; ++i)
#pragma GCC unroll 8
        for (int s = 0; s < at_once; ++s) {
          q[i][s] = min(high, round_even(mul(above[i], inverse[s])));  // never below 0
          q1[s] = add(q1[s], q[i][s]), qq[s] = fma(q[i][s], q[i][s], qq[s]);
          xq[s] = add(xq[s], rounded(mul(x[i], q[i][s])));
        }
      F fit_scale[at_once], fit_minimum[at_once], determinant[at_once], error[at_once];
      for (int s = 0; s < at_once; ++s) {
        determinant[s] = sub(mul(n, qq[s]), mul(q1[s], q1[s]));  // integers, so exact
        fit_scale[s] = div(sub(rounded(mul(n, xq[s])), rounded(mul(q1[s], sum))), determinant[s]);
        fit_minimum[s] = div(sub(rounded(mul(qq[s], sum)), rounded(mul(q1[s], xq[s]))), determinant[s]);
        fit_scale[s] = select_lt(zero(), fit_minimum[s], div(xq[s], qq[s]), fit_scale[s]);
        fit_minimum[s] = select_lt(zero(), fit_minimum[s], zero(), fit_minimum[s]);
        error[s] = zero();
      }
      for (int i = 0; i < N; ++i)
#pragma GCC unroll 8
        for (int s = 0; s < at_once; ++s) {
          const F d = sub(add(rounded(mul(fit_scale[s], q[i][s])), fit_minimum[s]), x[i]);
          error[s] = add(error[s], rounded(mul(d, d)));
        }
      for (int s = 0; s < at_once; ++s) {
        const F refused = set1(-minus_infinity);
        F e = select_lt(zero(), determinant[s], error[s], refused);
        e = select_lt(fit_scale[s], zero(), refused, e);
        best_scale = select_lt(e, least, fit_scale[s], best_scale);
        best_minimum = select_lt(e, least, fit_minimum[s], best_minimum);
        least = select_lt(e, least, e, least);
      }
    }
    store(scale + first, select_lt(low_x, high_x, best_scale, zero()));
    store(minimum + first, select_lt(low_x, high_x, best_minimum, low_x));
  }
}

// Stores the scales of 16 blocks as f16 at the beginning of each block. `inverse` receives the inverse of the stored
// values.
HEDDLE_SIMD void store_scales(const float* scale, uint8_t* to, int block_bytes, float* inverse) {
  f16 half[fit_groups];
  for (int g = 0; g < fit_groups; g += W) {
    store(half + g, load(scale + g));
    store(inverse + g, inverse_of(load(half + g)));
  }
  for (int g = 0; g < fit_groups; ++g) __builtin_memcpy(to + g * block_bytes, half + g, 2);
}

inline void quantize_q8_0(const float* x, uint8_t* to) {
  float scale[fit_groups], inverse[fit_groups];
  for (int g = 0; g < fit_groups; ++g) {
    F largest = abs(load(x + 32 * g));
    for (int i = W; i < 32; i += W) largest = max(abs(load(x + 32 * g + i)), largest);
    scale[g] = reduce_max(largest);
  }
  for (int g = 0; g < fit_groups; g += W) store(scale + g, div(load(scale + g), set1(127.0f)));
  store_scales(scale, to, 34, inverse);
  for (int g = 0; g < fit_groups; ++g)
    for (int i = 0; i < 32; i += W)
      store_bytes(
          to + 34 * g + 2 + i, code_of(mul(load(x + 32 * g + i), set1(inverse[g])), set1(-127.0f), set1(127.0f)));
}

inline void quantize_q4_0(const float* x, uint8_t* to) {
  float scale[fit_groups], inverse[fit_groups];
  fit_scales<32, -8, 7>(x, scale);
  store_scales(scale, to, 18, inverse);
  for (int g = 0; g < fit_groups; ++g, x += 32)
    for (int i = 0; i < 16; i += W) {
      const auto code = [&](int at) {
        return add(code_of(mul(load(x + at), set1(inverse[g])), set1(-8.0f), set1(7.0f)), set1(8.0f));
      };
      store_bytes(to + 18 * g + 2 + i, fma(code(16 + i), set1(16.0f), code(i)));
    }
}

constexpr uint64_t nibbles = 0x0f0f0f0f0f0f0f0f;
HEDDLE_SIMD uint64_t eight(const uint8_t* from) {
  uint64_t v;
  __builtin_memcpy(&v, from, 8);
  return v;
}
HEDDLE_SIMD void store_eight(uint8_t* to, uint64_t v) { __builtin_memcpy(to, &v, 8); }

inline void quantize_q5_0(const float* x, uint8_t* to) {
  float scale[fit_groups], inverse[fit_groups];
  fit_scales<32, -16, 15>(x, scale);
  store_scales(scale, to, 22, inverse);
  for (int g = 0; g < fit_groups; ++g, x += 32) {
    uint8_t q[32], *b = to + 22 * g;
    for (int i = 0; i < 32; i += W)
      store_bytes(q + i, add(code_of(mul(load(x + i), set1(inverse[g])), set1(-16.0f), set1(15.0f)), set1(16.0f)));
    // Gathers the fifth bits of eight integers: the shifted copies in the product do not overlap.
    for (int i = 0; i < 4; ++i)
      b[2 + i] = static_cast<uint8_t>((eight(q + 8 * i) >> 4 & 0x0101010101010101) * 0x0102040810204080 >> 56);
    for (int i = 0; i < 16; i += 8)
      store_eight(b + 6 + i, (eight(q + i) & nibbles) | (eight(q + 16 + i) & nibbles) << 4);
  }
}

inline void quantize_q4_k(const float* x, uint8_t* to) {
  constexpr int blocks = 2;
  float scale[fit_groups], minimum[fit_groups], d[fit_groups], dmin[fit_groups], inverse[fit_groups], low[fit_groups];
  fit_affine<15>(x, scale, minimum);
  for (int b = 0; b < blocks; ++b) q4_k_units(scale + 8 * b, minimum + 8 * b, to + 144 * b, d + 8 * b, dmin + 8 * b);
  for (int g = 0; g < fit_groups; g += W) {
    const F limit = set1(63.0f), unit = load(d + g), unit_min = load(dmin + g);
    const F s = code_of(mul(load(scale + g), inverse_of(unit)), zero(), limit),
            m = code_of(mul(neg(load(minimum + g)), inverse_of(unit_min)), zero(), limit);
    store(scale + g, s), store(minimum + g, m);
    store(inverse + g, inverse_of(mul(unit, s))), store(low + g, mul(unit_min, m));
  }
  for (int b = 0; b < blocks; ++b, to += 144, x += 256) {
    q4_k_scales(scale + 8 * b, minimum + 8 * b, to + 4);
    for (int c = 0; c < 4; ++c)
      for (int i = 0; i < 32; i += W) {
        const auto code = [&](int g) {
          return code_of(
              mul(add(load(x + 32 * g + i), set1(low[8 * b + g])), set1(inverse[8 * b + g])), zero(), set1(15.0f));
        };
        store_bytes(to + 16 + 32 * c + i, fma(code(2 * c + 1), set1(16.0f), code(2 * c)));
      }
  }
}

inline void quantize_q6_k(const float* x, uint8_t* to) {
  float scale[fit_groups], inverse[fit_groups];
  fit_scales<16, -32, 31>(x, scale);
  const float d = q6_k_unit(scale, to + 208);
  for (int g = 0; g < fit_groups; g += W) {
    const F s = code_of(mul(load(scale + g), inverse_of(set1(d))), set1(-127.0f), set1(127.0f));
    store_bytes(to + 192 + g, s);
    store(inverse + g, inverse_of(mul(set1(d), s)));
  }
  uint8_t q[256];
  for (int g = 0; g < fit_groups; ++g)
    for (int i = 16 * g; i < 16 * g + 16; i += W)
      store_bytes(q + i, add(code_of(mul(load(x + i), set1(inverse[g])), set1(-32.0f), set1(31.0f)), set1(32.0f)));
  for (int half = 0; half < 2; ++half)
    for (int i = 0; i < 32; i += 8) {
      constexpr uint64_t high = 0x0303030303030303;
      const uint8_t* from = q + 128 * half + i;
      const uint64_t v[4] = {eight(from), eight(from + 32), eight(from + 64), eight(from + 96)};
      store_eight(to + 64 * half + i, (v[0] & nibbles) | (v[2] & nibbles) << 4);
      store_eight(to + 64 * half + 32 + i, (v[1] & nibbles) | (v[3] & nibbles) << 4);
      store_eight(to + 128 + 32 * half + i,
          (v[0] >> 4 & high) | (v[1] >> 4 & high) << 2 | (v[2] >> 4 & high) << 4 | (v[3] >> 4 & high) << 6);
    }
}

// Calls `write` on n numbers, STRETCH at a time. ELEMENTS numbers become BYTES bytes, and n is a multiple of ELEMENTS.
// The last call is padded with zeros.
template <int ELEMENTS, int BYTES, int STRETCH>
void by_stretches(void (*write)(const float*, uint8_t*), const float* x, int64_t n, uint8_t* to) {
  constexpr int bytes = STRETCH / ELEMENTS * BYTES;
  for (; n >= STRETCH; n -= STRETCH, x += STRETCH, to += bytes) write(x, to);
  if (n <= 0) return;
  alignas(64) float padded[STRETCH] = {};
  uint8_t blocks[bytes];
  __builtin_memcpy(padded, x, static_cast<size_t>(n) * sizeof(float));
  write(padded, blocks);
  __builtin_memcpy(to, blocks, static_cast<size_t>(n / ELEMENTS * BYTES));
}

// Quantizes numbers that quantize() accepts: finite and not too large.
inline void quantize_blocks(DType type, const float* x, int64_t n, void* to) {
  uint8_t* b = static_cast<uint8_t*>(to);
  switch (type) {
    case DType::q8_0: return by_stretches<32, 34, 512>(quantize_q8_0, x, n, b);
    case DType::q4_0: return by_stretches<32, 18, 512>(quantize_q4_0, x, n, b);
    case DType::q5_0: return by_stretches<32, 22, 512>(quantize_q5_0, x, n, b);
    case DType::q4_k: return by_stretches<256, 144, 512>(quantize_q4_k, x, n, b);
    case DType::q6_k: return by_stretches<256, 210, 256>(quantize_q6_k, x, n, b);
    default: return;  // read-only types, which cast_weights rejects
  }
}

}  // namespace HEDDLE_ISA
}  // namespace heddle
