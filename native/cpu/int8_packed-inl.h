// Weights packed once, where the processor multiplies bytes by fours (VNNI): panels of 16 outputs, four neighbouring
// elements of one output ("a four") in each lane, so that one load meets one product and no shuffle. A row's sum is one
// chain over units of 32 elements, whatever rows share the product: a row's bits do not depend on its company.
#pragma once
#include "cpu/int8_packed_forms-inl.h"

#if defined(HEDDLE_SIMD_VNNI)
namespace heddle {
namespace HEDDLE_ISA {

// Rows of activations for packed weights: values (units, rows, 32), scales and totals (units, rows), starts
// (units, groups, rows).
struct PackedRows {
  int8_t* values;
  float* scales;
  float* totals;    // scale times the sum of a unit
  int32_t* starts;  // minus the weights' offset times the sum of a group
  int64_t rows;
};

// RM rows from row i on by PN panels, each of which goes on where its last one ended. The 16 sums of a row go to out[panel] + row * stride.
template <class P, int RM, int PN>
[[gnu::noinline]] void packed_tile(const PackedRows& x, int64_t i, int64_t k, const uint8_t* const* panels, float* const* out, int64_t stride) {
  constexpr int ahead = 4096 / PN, each = P::bytes / P::units, fours = 8 / P::groups;
  const int64_t blocks = packed_blocks<P>(k), rows = x.rows;
  const uint8_t* at[PN];
  F sum[PN][RM];
#pragma GCC unroll 4
  for (int n = 0; n < PN; ++n) {
    at[n] = panels[n];
#pragma GCC unroll 12
    for (int m = 0; m < RM; ++m) sum[n][m] = zero();
  }
  const int8_t* values = x.values + i * unit;
  const float *scales = x.scales + i, *totals = x.totals + i;
  const int32_t* starts = x.starts + i;
#pragma GCC unroll 1
  for (int64_t b = 0; b < blocks; ++b) {
#pragma GCC unroll 1
    for (int u = 0; u < P::units; ++u) {
#pragma GCC unroll 4
      for (int n = 0; n < PN; ++n)  // a unit's share at a time: more would not find room among the loads under way
#pragma GCC unroll 16
        for (int64_t line = 0; line < each; line += 64) fetch_stream(at[n] + ahead + u * each + line);
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
          for (int m = 0; m < RM; ++m) {
            sum[n][m] = fma(mul(scale, set1(scales[m])), numbers(dot[n][m]), sum[n][m]);
            HEDDLE_IN_PLACE(sum[n][m]);
          }
        }
      }
      if (P::has_minimum)
#pragma GCC unroll 4
        for (int n = 0; n < PN; ++n) {
          const F lowest = P::minimum(at[n], u);
#pragma GCC unroll 12
          for (int m = 0; m < RM; ++m) sum[n][m] = fnma(lowest, set1(totals[m]), sum[n][m]);
        }
      values += rows * unit, scales += rows, totals += rows, starts += P::groups * rows;
    }
#pragma GCC unroll 4
    for (int n = 0; n < PN; ++n) at[n] += P::bytes;
  }
#pragma GCC unroll 4
  for (int n = 0; n < PN; ++n)
#pragma GCC unroll 12
    for (int m = 0; m < RM; ++m) store(out[n] + m * stride, sum[n][m]);
}

// Most rows of x that are kept between each other, and so share a panel while it is near.
constexpr int packed_most_rows = 12;
using PackedTile = void (*)(const PackedRows&, int64_t i, int64_t k, const uint8_t* const* panels, float* const* out, int64_t stride);
// Tiles of one number of rows: panels beside them, as many as there are registers for or fewer, the widest first.
struct PackedTiles {
  int rows;
  struct {
    int panels;  // 0: no more
    PackedTile run;
  } forms[3];
};
template <class P> constexpr PackedTiles packed_tiles[] = {
    {8, {{1, packed_tile<P, 8, 1>}}},
    {7, {{1, packed_tile<P, 7, 1>}}},
    {6, {{2, packed_tile<P, 6, 2>}, {1, packed_tile<P, 6, 1>}}},
    {5, {{2, packed_tile<P, 5, 2>}, {1, packed_tile<P, 5, 1>}}},
    {4, {{2, packed_tile<P, 4, 2>}, {1, packed_tile<P, 4, 1>}}},
    {3, {{4, packed_tile<P, 3, 4>}, {2, packed_tile<P, 3, 2>}, {1, packed_tile<P, 3, 1>}}},
    {2, {{4, packed_tile<P, 2, 4>}, {2, packed_tile<P, 2, 2>}, {1, packed_tile<P, 2, 1>}}},
    {1, {{4, packed_tile<P, 1, 4>}, {2, packed_tile<P, 1, 2>}, {1, packed_tile<P, 1, 1>}}},
};
constexpr int packed_sums = 12;  // of the largest form
template <class P> constexpr bool packed_sums_suffice() {
  for (const PackedTiles& tiles : packed_tiles<P>)
    if (tiles.rows * tiles.forms[0].panels > packed_sums) return false;
  return true;
}

// The rows of x are kept in tiles; units are padded to whole blocks of every form, and so to whole fours.
inline int64_t packed_row_tiles(int64_t m) { return ceil_div(m, packed_most_rows); }
inline int64_t packed_units(int64_t k) { return round_up(k / unit, span / unit); }
inline int64_t packed_tile_bytes(int64_t k) { return packed_units(k) * packed_most_rows * (unit + 4 + 4 + 2 * 4); }
inline PackedRows packed_rows(void* scratch, int64_t tile, int64_t k, int64_t m) {
  const int64_t floats = packed_units(k) * packed_most_rows;
  char* at = static_cast<char*>(scratch) + tile * packed_tile_bytes(k);
  PackedRows x{};
  x.rows = min_of<int64_t>(packed_most_rows, m - tile * packed_most_rows);
  x.values = reinterpret_cast<int8_t*>(at);
  x.scales = reinterpret_cast<float*>(at + floats * unit);
  x.totals = x.scales + floats;
  x.starts = reinterpret_cast<int32_t*>(x.totals + floats);
  return x;
}

// Lane i of the lowest four: the 16 lanes of v[i], joined by op.
template <class Op> HEDDLE_SIMD __m128i fold_each(const __m512i (&v)[4], Op op) {
  const __m512i a = op(_mm512_unpacklo_epi32(v[0], v[1]), _mm512_unpackhi_epi32(v[0], v[1]));
  const __m512i b = op(_mm512_unpacklo_epi32(v[2], v[3]), _mm512_unpackhi_epi32(v[2], v[3]));
  const __m512i fours = op(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
  const __m512i half = op(fours, _mm512_shuffle_i64x2(fours, fours, 0x4e));
  return _mm512_castsi512_si128(op(half, _mm512_shuffle_i64x2(half, half, 0xb1)));
}

// round_unit of many units, four at a time, so that what is folded over lanes is folded for all of them at once. Each step is taken for
// all units before the next: one unit's steps wait for each other.
constexpr int fours_at_once = 16, units_at_once = 4 * fours_at_once;
template <int GROUPS> struct RoundedUnits {
  alignas(64) float scales[units_at_once];
  alignas(64) int32_t sums[GROUPS][units_at_once];  // of each unit, or of its halves
};
// x: of each four units 128 numbers; they go to to, to + stride, ...
template <int GROUPS> HEDDLE_SIMD void round_units(const float* const* x, int fours, int8_t* const* to, int64_t stride, RoundedUnits<GROUPS>& out) {
  const __m512i magnitude = _mm512_set1_epi32(0x7fffffff), ones = _mm512_set1_epi8(1), nothing = _mm512_setzero_si512();
  alignas(64) int32_t tops[units_at_once];
  alignas(64) float inverse[2][units_at_once], left[2][units_at_once];
  const int vectors = (fours + 3) / 4;
  for (int v = 4 * vectors - 4; v < 4 * vectors; ++v)  // the last ones may not be there
    for (int c = 0; c < 2; ++c) _mm_store_si128(reinterpret_cast<__m128i*>(tops + 4 * v), _mm_setzero_si128()), _mm_store_ps(left[c] + 4 * v, _mm_setzero_ps());
  for (int f = 0; f < fours; ++f) {
    __m512i largest[4];
#pragma GCC unroll 4
    for (int u = 0; u < 4; ++u) {
      const __m512i low = _mm512_loadu_si512(x[f] + u * unit), high = _mm512_loadu_si512(x[f] + u * unit + W);
      largest[u] = _mm512_max_epi32(_mm512_and_si512(low, magnitude), _mm512_and_si512(high, magnitude));
    }
    _mm_store_si128(reinterpret_cast<__m128i*>(tops + 4 * f), fold_each(largest, [](__m512i a, __m512i b) { return _mm512_max_epi32(a, b); }));
  }
  for (int v = 0; v < vectors; ++v) {
    const __m512i top = _mm512_load_si512(tops + 16 * v);
    const F largest = _mm512_castsi512_ps(top);
    const __mmask16 there = _mm512_cmplt_epi32_mask(top, _mm512_set1_epi32(0x7f800000)) & _mm512_cmp_ps_mask(largest, set1(least_activation), _CMP_GT_OQ);
    for (int c = 0; c < 2; ++c) store(inverse[c] + 16 * v, _mm512_maskz_div_ps(there, set1(activation_steps[c]), largest));
  }
  for (int f = 0; f < fours; ++f) {
    __m512i squares[2][4];
#pragma GCC unroll 4
    for (int u = 0; u < 4; ++u) {
      const F low = load(x[f] + u * unit), high = load(x[f] + u * unit + W);
#pragma GCC unroll 2
      for (int c = 0; c < 2; ++c) squares[c][u] = _mm512_castps_si512(left_squared(low, high, set1(inverse[c][4 * f + u])));
    }
    const auto sum = [](__m512i a, __m512i b) { return _mm512_castps_si512(_mm512_add_ps(_mm512_castsi512_ps(a), _mm512_castsi512_ps(b))); };
#pragma GCC unroll 2
    for (int c = 0; c < 2; ++c) _mm_store_si128(reinterpret_cast<__m128i*>(left[c] + 4 * f), fold_each(squares[c], sum));
  }
  for (int v = 0; v < vectors; ++v) {
    const __m512i top = _mm512_load_si512(tops + 16 * v);
    // second_steps_leave_less, of each unit
    const F first = mul(load(left[0] + 16 * v), set1(activation_steps[1] * activation_steps[1]));
    const __mmask16 less = _mm512_cmp_ps_mask(mul(load(left[1] + 16 * v), set1(activation_steps[0] * activation_steps[0])), first, _CMP_LT_OQ);
    const __mmask16 finite = _mm512_cmplt_epi32_mask(top, _mm512_set1_epi32(0x7f800000));
    const F steps = _mm512_mask_mov_ps(set1(activation_steps[0]), less, set1(activation_steps[1]));
    store(out.scales + 16 * v, _mm512_mask_div_ps(set1(__builtin_nanf("")), finite, _mm512_castsi512_ps(top), steps));
    store(inverse[0] + 16 * v, _mm512_mask_mov_ps(load(inverse[0] + 16 * v), less, load(inverse[1] + 16 * v)));
  }
  for (int f = 0; f < fours; ++f) {
    __m512i sums[GROUPS][4];
#pragma GCC unroll 4
    for (int u = 0; u < 4; ++u) {
      // What is not finite, times zero, becomes an integer whose lowest byte is zero.
      const F by = set1(inverse[0][4 * f + u]);
      const __m128i low = _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(mul(load(x[f] + u * unit), by)));
      const __m128i high = _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(mul(load(x[f] + u * unit + W), by)));
      const __m256i both = _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1);
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(to[f] + u * stride), both);
      sums[0][u] = _mm512_dpbusd_epi32(nothing, ones, GROUPS == 1 ? _mm512_zextsi256_si512(both) : _mm512_zextsi128_si512(low));
      if (GROUPS == 2) sums[GROUPS - 1][u] = _mm512_dpbusd_epi32(nothing, ones, _mm512_zextsi128_si512(high));
    }
    const auto sum = [](__m512i a, __m512i b) { return _mm512_add_epi32(a, b); };
    for (int g = 0; g < GROUPS; ++g) _mm_store_si128(reinterpret_cast<__m128i*>(out.sums[g] + 4 * f), fold_each(sums[g], sum));
  }
}

template <class P> void round_packed_tile(const QuantLinear& p, int64_t tile, void* scratch) {
  const PackedRows x = packed_rows(scratch, tile, p.k, p.m);
  const int64_t units = p.k / unit, each = ceil_div(packed_blocks<P>(p.k) * P::units, 4), all = x.rows * each;  // fours of a row, of all
  alignas(64) float numbers[fours_at_once][4 * unit];
  for (int64_t begin = 0; begin < all; begin += fours_at_once) {
    const int fours = static_cast<int>(min_of<int64_t>(fours_at_once, all - begin));
    const float* from[fours_at_once];
    int8_t* to[fours_at_once];
    int64_t rows[fours_at_once], firsts[fours_at_once];
    for (int f = 0; f < fours; ++f) {
      const int64_t r = (begin + f) / each, row = tile * packed_most_rows + r, first = (begin + f) % each * 4;
      rows[f] = r, firsts[f] = first;
      to[f] = x.values + (first * x.rows + r) * unit;
      from[f] = static_cast<const float*>(p.x) + row * p.k + first * unit;
      if (p.x_type == DType::f32 && first + 4 <= units) continue;
      from[f] = numbers[f];
      for (int64_t u = 0; u < 4; ++u) {
        if (first + u < units) load_unit(p, row, first + u, numbers[f] + u * unit);
        else store(numbers[f] + u * unit, zero()), store(numbers[f] + u * unit + W, zero());
      }
    }
    RoundedUnits<P::groups> rounded;
    round_units(from, fours, to, x.rows * unit, rounded);
    for (int f = 0; f < fours; ++f)
      for (int64_t u = 0; u < 4; ++u) {
        const int64_t at = (firsts[f] + u) * x.rows + rows[f], j = 4 * f + u;
        x.scales[at] = rounded.scales[j];
        int32_t total = 0;
        for (int g = 0; g < P::groups; ++g)
          total += rounded.sums[g][j], x.starts[((firsts[f] + u) * P::groups + g) * x.rows + rows[f]] = -P::offset * rounded.sums[g][j];
        if (P::has_minimum) x.totals[at] = rounded.scales[j] * static_cast<float>(total);
      }
  }
}
template <class P> void round_packed_rows(const QuantLinear& p, void* scratch, Pool& pool) {
  const int64_t tiles = packed_row_tiles(p.m);
  if (p.m * (p.k / unit) < 2048)
    for (int64_t tile = 0; tile < tiles; ++tile) round_packed_tile<P>(p, tile, scratch);
  else pool.run(tiles, [&](int64_t tile, int) { round_packed_tile<P>(p, tile, scratch); });
}

// Panels [p0, p1) by `rows` rows of a tile from row i on, rows at a time those of `tiles`. Several panels at once lie far
// apart, each stream going on where its last panel ended.
template <class P>
void packed_stripe(const QuantLinear& p, const PackedRows& x, int64_t first, int64_t i, int64_t rows, const PackedTiles& tiles, const uint8_t* panels,
                   int64_t panel_bytes, int64_t p0, int64_t p1) {
  static_assert(packed_sums_suffice<P>());
  alignas(64) float sums[packed_sums * W];
  const bool direct = p.y_type == DType::f32 && !p.bias && p1 * W <= p.n;  // sums are outputs, and all of them are there
  int64_t done = p0;
  for (const auto& form : tiles.forms) {
    if (form.panels == 0) break;
    const int64_t each = (p1 - done) / form.panels;
    for (int64_t j = 0; j < each; ++j) {
      const uint8_t* at[4];
      float* out[4];
      for (int s = 0; s < form.panels; ++s) at[s] = panels + (done - p0 + s * each + j) * panel_bytes, out[s] = sums + s * tiles.rows * W;
      for (int64_t r = i; r < i + rows; r += tiles.rows) {  // while the panels are near
        for (int s = 0; direct && s < form.panels; ++s) out[s] = static_cast<float*>(p.y) + (first + r) * p.n + (done + s * each + j) * W;
        form.run(x, r, p.k, at, out, direct ? p.n : W);
        for (int s = 0; !direct && s < form.panels; ++s)
          for (int m = 0; m < tiles.rows; ++m) {
            const int64_t column = (done + s * each + j) * W;
            write_int8(p, first + r + m, column, p.n - column, load(out[s] + m * W));
          }
      }
    }
    done += each * form.panels;
  }
}
// Panels [p0, p1) by the rows of one tile. Seven or eight have no room for a second panel, and so are not a part of more rows.
template <class P>
void packed_columns(const QuantLinear& p, const PackedRows& x, int64_t first, const uint8_t* panels, int64_t panel_bytes, int64_t p0, int64_t p1) {
  int64_t i = 0;
  for (const PackedTiles& tiles : packed_tiles<P>) {
    if (tiles.rows > 6 && x.rows != tiles.rows) continue;
    const int64_t rows = (x.rows - i) / tiles.rows * tiles.rows;
    if (rows > 0) packed_stripe<P>(p, x, first, i, rows, tiles, panels, panel_bytes, p0, p1);
    i += rows;
  }
}

// Rows of x from which panels of nibbles are widened before they are used.
constexpr int64_t packed_widen_rows = 2 * packed_most_rows;
constexpr int64_t packed_task_bytes = 131072;  // of panels, for the near cache
template <class P> constexpr bool packed_widens = P::type == DType::q4_0 || P::type == DType::q5_0;
// Panels that a thread makes for itself and uses at once: as many as tiles of few rows take side by side.
inline int64_t packed_own_panels(int64_t bytes) { return max_of<int64_t>(4, packed_task_bytes / max_of<int64_t>(1, bytes) / 4 * 4); }
template <class P> int64_t packed_own_bytes(int64_t k) {
  const int64_t wide = packed_panel_bytes<Packed8>(k), bytes = packed_panel_bytes<P>(k);
  return (packed_widens<P> ? max_of(packed_own_panels(wide) * wide, packed_task_bytes) : 0) + packed_own_panels(bytes) * bytes;
}

// Products of one x by several weights of one form, as one loop.
template <class P> void packed_products(const QuantLinear* products, int count, Pool& pool, void* scratch) {
  const QuantLinear& x = products[0];
  round_packed_rows<P>(x, scratch, pool);
  const int64_t tiles = packed_row_tiles(x.m), bytes = packed_panel_bytes<P>(x.k);
  const bool widen = packed_widens<P> && x.m >= packed_widen_rows;
  const int64_t wide = packed_panel_bytes<Packed8>(x.k);
  uint8_t* own = static_cast<uint8_t*>(scratch) + round_up(tiles * packed_tile_bytes(x.k), 64);
  const int64_t most = max_of<int64_t>(1, packed_task_bytes / max_of<int64_t>(1, widen ? wide : bytes));
  const auto tasks_of = [&](const QuantLinear& p) {
    const int64_t panels = ceil_div(p.n, W), tasks = min_of<int64_t>(panels, pool.threads() * 4);
    return tiles > 1 ? max_of(tasks, ceil_div(panels, most)) : min_of(tasks, Pool::stream_tasks(panels * bytes, pool.threads()));
  };
  run_joined(pool, count, [&](int i) { return tasks_of(products[i]); }, [&](int i, int64_t task, int64_t tasks, int thread) {
    const QuantLinear& p = products[i];
    const int64_t panels = ceil_div(p.n, W), together = tiles > 1 ? 2 : 1, parts = ceil_div(panels, together);
    const int64_t p1 = min_of(panels, parts * (task + 1) / tasks * together);
    int64_t p0 = parts * task / tasks * together;
    uint8_t* mine = own + thread * packed_own_bytes<P>(x.k);
    const int64_t step = !p.packed ? packed_own_panels(widen ? wide : bytes) : widen ? most : panels;
    for (; p0 < p1; p0 += step) {
      const int64_t end = min_of(p0 + step, p1);
      const uint8_t* from = mine;
      if (p.packed) from = static_cast<const uint8_t*>(p.packed) + p0 * bytes;
      else
        for (int64_t j = p0; j < end; ++j) P::pack(p, j, mine + (j - p0) * bytes);
      if (!widen) {
        for (int64_t t = 0; t < tiles; ++t)
          packed_columns<P>(p, packed_rows(scratch, t, p.k, p.m), t * packed_most_rows, from, bytes, p0, end);
      } else if constexpr (packed_widens<P>) {
        uint8_t* widened = mine + packed_own_panels(bytes) * bytes;
        for (int64_t j = p0; j < end; ++j) widen_panel<P>(from + (j - p0) * bytes, p.k, widened + (j - p0) * wide);
        for (int64_t t = 0; t < tiles; ++t)
          packed_columns<Packed8>(p, packed_rows(scratch, t, p.k, p.m), t * packed_most_rows, widened, wide, p0, end);
      }
    }
  });
}

template <class P> void pack_all(const QuantLinear& p, void* to, Pool& pool) {
  const int64_t bytes = packed_panel_bytes<P>(p.k);
  pool.range(ceil_div(p.n, W), 4, [&](int64_t p0, int64_t p1, int) {
    for (int64_t panel = p0; panel < p1; ++panel) P::pack(p, panel, static_cast<uint8_t*>(to) + panel * bytes);
  });
}

// A type's packed form.
struct PackedForm {
  int64_t (*panel_bytes)(int64_t k) = nullptr;  // null: the type has none
  void (*pack)(const QuantLinear&, void* to, Pool&) = nullptr;
  void (*products)(const QuantLinear*, int count, Pool&, void* scratch) = nullptr;
  int64_t (*own_bytes)(int64_t k) = nullptr;  // of a thread
};
template <class P> constexpr PackedForm packed_form_of = {packed_panel_bytes<P>, pack_all<P>, packed_products<P>, packed_own_bytes<P>};
inline PackedForm packed_form(DType type) {
  switch (type) {
    case DType::q8_0: return packed_form_of<Packed8>;
    case DType::q4_0: return packed_form_of<Packed4>;
    case DType::q5_0: return packed_form_of<Packed5>;
    case DType::q4_k: return packed_form_of<Packed4K>;
    case DType::q6_k: return packed_form_of<Packed6K>;
    default: return {};
  }
}

inline size_t quant_packed_bytes(DType type, int64_t n, int64_t k) {
  const PackedForm form = packed_form(type);
  return form.pack && k > 0 ? static_cast<size_t>(ceil_div(n, W) * form.panel_bytes(k)) : 0;
}
inline void quant_pack(const QuantLinear& p, void* to, Pool& pool) { packed_form(p.w_type).pack(p, to, pool); }

inline size_t packed_scratch(const QuantLinear& p, int threads) {
  const PackedForm form = packed_form(p.w_type);
  if (!form.pack) return 0;
  const int64_t rows = round_up(packed_row_tiles(p.m) * packed_tile_bytes(p.k), 64);
  return static_cast<size_t>(rows + threads * form.own_bytes(p.k));
}
inline void packed_linears(const QuantLinear* p, int count, Pool& pool, void* scratch) {
  packed_form(p[0].w_type).products(p, count, pool, scratch);
}

}  // namespace HEDDLE_ISA
}  // namespace heddle
#endif
