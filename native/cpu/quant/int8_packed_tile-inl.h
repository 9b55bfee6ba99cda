// The register tiles of packed weights: a few rows of activations times a few panels. Each output is added up in one
// fixed order.
#pragma once
#include "cpu/quant/int8_packed_rows-inl.h"

#if defined(HEDDLE_INT8_PACKED)
namespace heddle {
namespace HEDDLE_ISA {

constexpr int packed_ahead = 5120;  // prefetch distance in bytes, over all streams

// Prefetching for the streams of PN panels. It runs the same number of units ahead in each stream, and continues with a
// stream's next panel at the end of a panel.
template <class P, int PN> struct PanelsAhead {
  static constexpr int64_t each = P::bytes / P::units, whole = each / 64 * 64;
  static constexpr int near = static_cast<int>((packed_ahead / PN + each / 2) / each), units = near < 1 ? 1 : near;
  const uint8_t* soon[2][PN] = {};  // the blocks that contain the units to prefetch

  [[gnu::always_inline]] void enter(
      int64_t b, int64_t blocks, const uint8_t* const (&at)[PN], const uint8_t* const* after) {
#pragma GCC unroll 2
    for (int late = 0; late < 2; ++late) {
      const int64_t to = b + units / P::units + late;
#pragma GCC unroll 4
      for (int n = 0; n < PN; ++n)
        soon[late][n] = to < blocks ? at[n] + (to - b) * P::bytes : after[n] + (to - blocks) * P::bytes;
    }
  }
  // Prefetches the cache lines that begin in the unit that is `units` after unit u. Prefetching more at a time would
  // exceed the outstanding misses that a core supports.
  [[gnu::always_inline]] void fetch(int u) const {
    const int to = u + units % P::units, late = to >= P::units, unit_of = late ? to - P::units : to;
    const int64_t first = padded_to_line(unit_of * each);
#pragma GCC unroll 4
    for (int n = 0; n < PN; ++n)
#pragma GCC unroll 16
      for (int64_t line = 0; line < whole; line += 64) fetch_stream(soon[late][n] + first + line);
    if (first + whole < (unit_of + 1) * each)
#pragma GCC unroll 4
      for (int n = 0; n < PN; ++n) fetch_stream(soon[late][n] + first + whole);
  }
};

#if defined(HEDDLE_SIMD_AVX512)
// The W sums of each row and panel. They stay in registers if the dot products leave room, otherwise in L1 between
// units.
template <int RM, int PN, bool IN_REGISTERS = (RM * PN <= 12)> struct PackedSums {
  F own[PN][RM];
  template <class Next> [[gnu::always_inline]] void set(int n, int m, const Next& next) {
    own[n][m] = next(own[n][m]);
    HEDDLE_IN_PLACE(own[n][m]);
  }
  [[gnu::always_inline]] F get(int n, int m) const { return own[n][m]; }
};
template <int RM, int PN> struct PackedSums<RM, PN, false> {
  alignas(64) float own[PN][RM][W];
  template <class Next> [[gnu::always_inline]] void set(int n, int m, const Next& next) {
    store(own[n][m], next(load(own[n][m])));
  }
  [[gnu::always_inline]] F get(int n, int m) const { return load(own[n][m]); }
};

// Multiplies RM rows from row i on by PN panels, each one a stream. The 16 sums of a row go to out[panel] + row *
// stride. Prefetches the panels, and after their ends those in `after`. If `next` is given, the panels are in cache,
// and one line of `next` is prefetched per unit instead.
template <class P, int RM, int PN>
[[gnu::noinline]] void packed_tile(const PackedRows& x, int64_t i, int64_t k, const uint8_t* const* panels,
    float* const* out, int64_t stride, const uint8_t* const* after, const uint8_t* next) {
  constexpr int fours = 8 / P::groups;
  const int64_t blocks = packed_blocks<P>(k), rows = x.rows;
  const uint8_t* at[PN];
  PackedSums<RM, PN> sum;
#pragma GCC unroll 4
  for (int n = 0; n < PN; ++n) {
    at[n] = panels[n];
#pragma GCC unroll 12
    for (int m = 0; m < RM; ++m) sum.set(n, m, [](F) { return zero(); });
  }
  const int8_t* values = x.values + i * unit;
  const float *scales = x.scales + i, *totals = x.totals + i;
  const int32_t* starts = x.starts + i;
  PanelsAhead<P, PN> ahead;
#pragma GCC unroll 1
  for (int64_t b = 0; b < blocks; ++b) {
    if (!next) ahead.enter(b, blocks, at, after);
#pragma GCC unroll 1
    for (int u = 0; u < P::units; ++u) {
      if (next) {
        fetch_stream(next), next += 64;
      } else {
        ahead.fetch(u);
      }
#pragma GCC unroll 2
      for (int g = 0; g < P::groups; ++g) {
        __m512i dot[PN][RM];
#pragma GCC unroll 4
        for (int n = 0; n < PN; ++n)
#pragma GCC unroll 12
          for (int m = 0; m < RM; ++m) dot[n][m] = _mm512_set1_epi32(starts[g * rows + m]);
#pragma GCC unroll 8
        for (int j = g * fours; j < (g + 1) * fours; ++j) {
          __m512i w[PN];
#pragma GCC unroll 4
          for (int n = 0; n < PN; ++n) w[n] = P::four(at[n], u, j);
#pragma GCC unroll 12
          for (int m = 0; m < RM; ++m) {
            int32_t bits;
            __builtin_memcpy(&bits, values + m * unit + 4 * P::place(j), 4);
            const __m512i own = _mm512_set1_epi32(bits);
#pragma GCC unroll 4
            for (int n = 0; n < PN; ++n) {
              dot[n][m] = _mm512_dpbusd_epi32(dot[n][m], w[n], own);
              HEDDLE_IN_PLACE(dot[n][m]);
            }
          }
        }
#pragma GCC unroll 4
        for (int n = 0; n < PN; ++n) {
          const F scale = P::scale(at[n], u, g);
#pragma GCC unroll 12
          for (int m = 0; m < RM; ++m)
            sum.set(n, m, [&](F before) { return fma(mul(scale, set1(scales[m])), numbers(dot[n][m]), before); });
        }
      }
      if (P::has_minimum)
#pragma GCC unroll 4
        for (int n = 0; n < PN; ++n) {
          const F lowest = P::minimum(at[n], u);
#pragma GCC unroll 12
          for (int m = 0; m < RM; ++m) sum.set(n, m, [&](F before) { return fnma(lowest, set1(totals[m]), before); });
        }
      values += rows * unit, scales += rows, totals += rows, starts += P::groups * rows;
    }
#pragma GCC unroll 4
    for (int n = 0; n < PN; ++n) at[n] += P::bytes;
  }
#pragma GCC unroll 4
  for (int n = 0; n < PN; ++n)
#pragma GCC unroll 12
    for (int m = 0; m < RM; ++m) store(out[n] + m * stride, sum.get(n, m));
}
#else
#if defined(HEDDLE_DOT_OF_FOUR)
// Multiplies RM rows by one group of a unit of PN panels, and adds the products to `dot`.
template <class P, int RM, int PN>
HEDDLE_SIMD void group_products(
    const uint8_t* const (&at)[PN], const int8_t* values, int u, int g, Lanes (&dot)[PN][RM]) {
  constexpr int fours = 8 / P::groups;
#pragma GCC unroll 8
  for (int j = g * fours; j < (g + 1) * fours; ++j) {
    Lanes w[PN];
#pragma GCC unroll 4
    for (int n = 0; n < PN; ++n) w[n] = P::four(at[n], u, j);
#pragma GCC unroll 4
    for (int m = 0; m < RM; ++m) {
      int32_t bits;
      __builtin_memcpy(&bits, values + m * unit + 4 * P::place(j), 4);
      const Lanes x = same_lanes(bits);
#pragma GCC unroll 4
      for (int n = 0; n < PN; ++n) {
        dot[n][m] = dot_of_four(dot[n][m], w[n], x);
        HEDDLE_IN_PLACE(dot[n][m]);
      }
    }
  }
}
#else
// Multiplies RM rows by one group of a unit of PN panels, in integers. The products of P::run fours are added up in 16
// bits, which cannot overflow. The instruction multiplies unsigned by signed bytes, so signed weights (q8_0) first pass
// their sign to x. 16 bits hold at most two products of 128 by 127.
template <class P, int RM, int PN>
HEDDLE_SIMD void group_products(
    const uint8_t* const (&at)[PN], const int8_t* values, int u, int g, Lanes (&dot)[PN][RM]) {
  constexpr int fours = 8 / P::groups, run = P::run < fours ? P::run : fours;
#pragma GCC unroll 8
  for (int j0 = g * fours; j0 < (g + 1) * fours; j0 += run) {
    Lanes part[PN][RM];
#pragma GCC unroll 8
    for (int j = j0; j < j0 + run; ++j)
#pragma GCC unroll 4
      for (int n = 0; n < PN; ++n) {
        const Lanes w = P::four(at[n], u, j), size = P::is_signed ? magnitude8(w) : w;
        Lanes mask;
        if constexpr (P::is_parted) mask = P::mask(at[n], u, j);
#pragma GCC unroll 4
        for (int m = 0; m < RM; ++m) {
          int32_t bits;
          __builtin_memcpy(&bits, values + m * unit + 4 * P::place(j), 4);
          const Lanes x = same_lanes(bits), product = pair_products8(size, P::is_signed   ? with_sign8(x, w)
                                                                           : P::is_parted ? flipped8(x, mask)
                                                                                          : x);
          const bool first = j == j0, last = j == j0 + run - 1;
          if (first) part[n][m] = product;
          else part[n][m] = plus16(part[n][m], product);
          if (last) {
            const Lanes sums = pair_products16(part[n][m], ones16());
            if (j0 == g * fours) dot[n][m] = sums;
            else dot[n][m] = plus(dot[n][m], sums);
            HEDDLE_IN_PLACE(dot[n][m]);
          } else {
            HEDDLE_IN_PLACE(part[n][m]);
          }
        }
      }
  }
}
#endif

// Multiplies RM rows from row i on by PN panels, each one a stream. The W sums of a row go to out[panel] + row *
// stride. Sums that do not fit into registers stay in L1 between units.
template <class P, int RM, int PN>
[[gnu::noinline]] void packed_tile(const PackedRows& x, int64_t i, int64_t k, const uint8_t* const* panels,
    float* const* out, int64_t stride, [[maybe_unused]] const uint8_t* const* after, const uint8_t*) {
  const int64_t blocks = packed_blocks<P>(k), rows = x.rows;
  const uint8_t* at[PN];
  alignas(64) float sum[PN][RM][W];
  for (int n = 0; n < PN; ++n) {
    at[n] = panels[n];
    for (int m = 0; m < RM; ++m) store(sum[n][m], zero());
  }
  const int8_t* values = x.values + i * unit;
  const float *scales = x.scales + i, *totals = x.totals + i;
  const int32_t* starts = x.starts + i;
  [[maybe_unused]] PanelsAhead<P, PN> ahead;
#pragma GCC unroll 1
  for (int64_t b = 0; b < blocks; ++b) {
    if constexpr (!P::is_near) ahead.enter(b, blocks, at, after);
#pragma GCC unroll 1
    for (int u = 0; u < P::units; ++u) {
      if constexpr (!P::is_near) ahead.fetch(u);
#pragma GCC unroll 2
      for (int g = 0; g < P::groups; ++g) {
        Lanes dot[PN][RM];
#if defined(HEDDLE_DOT_OF_FOUR)
#pragma GCC unroll 4
        for (int n = 0; n < PN; ++n)
#pragma GCC unroll 4
          for (int m = 0; m < RM; ++m) dot[n][m] = same_lanes(P::offset ? starts[g * rows + m] : 0);
#endif
        group_products<P, RM, PN>(at, values, u, g, dot);
#pragma GCC unroll 4
        for (int n = 0; n < PN; ++n) {
          const F scale = P::scale(at[n], u, g);
          [[maybe_unused]] Lanes negatives;
          if constexpr (P::is_parted) negatives = P::negatives(at[n], u);
#pragma GCC unroll 4
          for (int m = 0; m < RM; ++m) {
#if defined(HEDDLE_DOT_OF_FOUR)
            const Lanes whole = dot[n][m];
#else
            const Lanes start = P::is_parted ? negatives : same_lanes(P::offset ? starts[g * rows + m] : 0),
                        whole = plus(dot[n][m], start);
#endif
            store(sum[n][m], fma(mul(scale, set1(scales[m])), numbers(whole), load(sum[n][m])));
          }
        }
      }
      if (P::has_minimum)
#pragma GCC unroll 4
        for (int n = 0; n < PN; ++n) {
          const F lowest = P::minimum(at[n], u);
#pragma GCC unroll 4
          for (int m = 0; m < RM; ++m) store(sum[n][m], fnma(lowest, set1(totals[m]), load(sum[n][m])));
        }
      values += rows * unit, scales += rows, totals += rows, starts += P::groups * rows;
    }
#pragma GCC unroll 4
    for (int n = 0; n < PN; ++n) at[n] += P::bytes;
  }
  for (int n = 0; n < PN; ++n)
    for (int m = 0; m < RM; ++m) store(out[n] + m * stride, load(sum[n][m]));
}
#endif

using PackedTile = void (*)(const PackedRows&, int64_t i, int64_t k, const uint8_t* const* panels, float* const* out,
    int64_t stride, const uint8_t* const* after, const uint8_t* next);
// The tiles for a number of rows, by number of panels. The first one has the most panels that registers allow.
struct PackedTiles {
  int rows;
  struct {
    int panels;
    PackedTile run;
  } forms[3];  // ends with 0 panels
};
// Divides `count` panels among the forms. Calls sweep(form, first, each) for panels [first, first + each *
// form.panels). The last call may cover panels from `count` on. It computes the last panel in their place. Separate
// kernels for the last panels of a task would add code and gain nothing.
template <class Sweep> void packed_sweeps(const PackedTiles& tiles, int64_t count, const Sweep& sweep) {
  const auto* form = tiles.forms;
  for (int64_t done = 0; done < count;) {
    const int64_t whole = (count - done) / form->panels, each = max_of<int64_t>(whole, 1);
    if (whole == 0 && form[1].panels) {
      ++form;
      continue;
    }
    sweep(*form, done, each);
    done += each * form->panels;
  }
}
#if defined(HEDDLE_SIMD_AVX512)
template <class P>
constexpr PackedTiles packed_tiles[] = {
    {12, {{2, packed_tile<P, 12, 2>}}},
    {11, {{2, packed_tile<P, 11, 2>}}},
    {10, {{2, packed_tile<P, 10, 2>}}},
    {9, {{2, packed_tile<P, 9, 2>}}},
    {8, {{2, packed_tile<P, 8, 2>}}},
    {7, {{2, packed_tile<P, 7, 2>}}},
    {6, {{2, packed_tile<P, 6, 2>}}},
    {5, {{2, packed_tile<P, 5, 2>}}},
    {4, {{2, packed_tile<P, 4, 2>}}},
    {3, {{4, packed_tile<P, 3, 4>}, {2, packed_tile<P, 3, 2>}}},
    {2, {{4, packed_tile<P, 2, 4>}, {2, packed_tile<P, 2, 2>}}},
    {1, {{4, packed_tile<P, 1, 4>}, {2, packed_tile<P, 1, 2>}}},
};
#else
// Number of panels for four rows. The 16-bit and 32-bit sums of two panels do not always fit into registers.
#if defined(HEDDLE_DOT_OF_FOUR)
template <class P> constexpr int packed_beside = 2;
#else
template <class P> constexpr int packed_beside = P::is_signed || P::is_parted || P::run * P::groups >= 8 ? 2 : 1;
#endif
template <class P>
constexpr PackedTiles packed_tiles[] = {
    {4, {{packed_beside<P>, packed_tile<P, 4, packed_beside<P>>}}},
    {3, {{2, packed_tile<P, 3, 2>}}},
    {2, {{4, packed_tile<P, 2, 4>}, {2, packed_tile<P, 2, 2>}}},
    {1, {{4, packed_tile<P, 1, 4>}, {2, packed_tile<P, 1, 2>}}},
};
#endif
constexpr int packed_sums = 24;  // sums of the largest kernel
template <class P> constexpr bool packed_sums_suffice() {
  for (const PackedTiles& tiles : packed_tiles<P>)
    if (tiles.rows * tiles.forms[0].panels > packed_sums) return false;
  return true;
}

}  // namespace HEDDLE_ISA
}  // namespace heddle
#endif
