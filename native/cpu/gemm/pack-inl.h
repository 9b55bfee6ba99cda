// Packs an operand of a matrix product, in any dtype and either storage order, as f32 panels of P lines by k: panel[p *
// P + i] = source(line i, p). A line is a row of a or a column of b. Lines beyond the matrix become zero.
#pragma once
#include "cpu/simd/simd.h"

namespace heddle {
namespace HEDDLE_ISA {

// Lines are contiguous in k: source(i, p) = src[i * ld + p]. Transposes W x W blocks in registers.
template <int P, class T> void pack_rows(const T* src, int64_t ld, int64_t lines, int64_t k, float* dst) {
  static_assert(P % W == 0 || P < W, "the next line must overwrite what a vector store writes beyond a line's end");
  constexpr int groups = P < W ? 1 : P / W, width = P < W ? P : W;
  for (int64_t p = 0; p < k; p += W) {
    int64_t steps = min_of<int64_t>(W, k - p);
    for (int g = 0; g < groups; ++g) {
      F r[W];
      const T* from = src + g * W * ld + p;
      int64_t valid = min_of<int64_t>(width, max_of<int64_t>(0, lines - g * W));
      if (steps == W && valid == width) {
#pragma GCC unroll 16
        for (int i = 0; i < W; ++i) r[i] = i < width ? load(from + i * ld) : zero();
      } else {
        for (int i = 0; i < W; ++i) r[i] = i < valid ? load_n(from + i * ld, static_cast<int>(steps)) : zero();
      }
      transpose(r);
      float* to = dst + p * P + g * W;
      if (P < W && p + W >= k) {  // the last stores must not reach the next panel, which another thread may own
        for (int s = 0; s < steps; ++s) store_n(to + s * P, r[s], width);
      } else if (steps == W) {
#pragma GCC unroll 16
        for (int s = 0; s < W; ++s) store(to + s * P, r[s]);
      } else {
        for (int s = 0; s < steps; ++s) store(to + s * P, r[s]);
      }
    }
  }
}

// Neighbouring panels of one operand, `stride` floats apart.
struct Panels {
  int64_t count = 1, stride = 0;
};
// Splits `lines` lines into panels of P. `full` panels have all their lines. The first `open` of them may load and
// store their last vector whole, because the source row is long enough. The next step along k overwrites the excess in
// the panel.
template <int P> struct PanelParts {
  int64_t full, open;
  PanelParts(int64_t lines, int64_t panels)
      : full(min_of(panels, lines / P)),
        open(min_of(full, lines < round_up(P, W) ? int64_t{0} : (lines - round_up(P, W)) / P + 1)) {}
};

// Packs lines that are contiguous for a fixed k: source(i, p) = src[p * ld + i]. Each row of the source is copied to
// all panels before the next row. Packing panel by panel would read the source in pieces shorter than a prefetched
// unit. Rows with a power-of-two stride would also evict each other between panels.
template <int P, class T>
void pack_columns(const T* src, int64_t ld, int64_t lines, int64_t k, float* dst, Panels panels) {
  constexpr int whole = P / W * W, rest = P - whole;
  const PanelParts<P> parts(lines, panels.count);
  for (int64_t p = 0; p < k; ++p, src += ld, dst += P) {
    const T* from = src;
    float* to = dst;
    int64_t i = 0;
    if (!rest || p + 1 < k)
      for (; i < parts.open; ++i, from += P, to += panels.stride)
#pragma GCC unroll 4
        for (int l = 0; l < P; l += W) store(to + l, load(from + l));
    for (; i < parts.full; ++i, from += P, to += panels.stride) {
#pragma GCC unroll 4
      for (int l = 0; l < whole; l += W) store(to + l, load(from + l));
      if (rest) store_n(to + whole, load_n(from + whole, rest), rest);
    }
    for (; i < panels.count; ++i, from += P, to += panels.stride)
      for (int l = 0; l < P; l += W) {
        const int have = static_cast<int>(min_of<int64_t>(W, max_of<int64_t>(0, lines - i * P - l))),
                  keep = min_of(W, P - l);
        const F v = have == W ? load(from + l) : have ? load_n(from + l, have) : zero();
        if (keep == W) store(to + l, v);
        else store_n(to + l, v, keep);
      }
  }
}

// `strided`: source(i, p) = src[p * ld + i], as in pack_columns. Otherwise source(i, p) = src[i * ld + p], and only one
// panel is packed. Packing starts at line `line` and index `p` along k of the operand.
template <int P, class T>
void pack_lines(const T* src, int64_t ld, bool strided, int64_t line, int64_t p, int64_t lines, int64_t k, float* dst,
    Panels panels) {
  strided ? pack_columns<P>(src + p * ld + line, ld, lines, k, dst, panels)
          : pack_rows<P>(src + line * ld + p, ld, lines, k, dst);
}
template <int P>
void pack_panel(const void* src, DType type, int64_t ld, bool strided, int64_t line, int64_t p, int64_t lines,
    int64_t k, float* dst, Panels panels = {}) {
  if (type == DType::f32) pack_lines<P>(static_cast<const float*>(src), ld, strided, line, p, lines, k, dst, panels);
  else if (type == DType::bf16)
    pack_lines<P>(static_cast<const bf16*>(src), ld, strided, line, p, lines, k, dst, panels);
  else pack_lines<P>(static_cast<const f16*>(src), ld, strided, line, p, lines, k, dst, panels);
}

#if defined(HEDDLE_SIMD_BF16)
// Like pack_rows, for the dot product of bf16 pairs. Other types are rounded to bf16. panel[q * P + i] = (source(i,
// 2q), source(i, 2q + 1)) as the bits of one float. An odd k ends with a zero.
template <int P, class T> void pack_pair_rows(const T* src, int64_t ld, int64_t lines, int64_t k, float* dst) {
  static_assert(P % W == 0 || P < W, "the next line must overwrite what a vector store writes beyond a line's end");
  constexpr int groups = P < W ? 1 : P / W, width = P < W ? P : W;
  int64_t pairs = ceil_div(k, 2);
  for (int64_t q = 0; q < pairs; q += W) {
    int64_t steps = min_of<int64_t>(W, pairs - q), left = k - 2 * q;
    for (int g = 0; g < groups; ++g) {
      F r[W];
      const T* from = src + g * W * ld + 2 * q;
      int64_t valid = min_of<int64_t>(width, max_of<int64_t>(0, lines - g * W));
      if (left >= 2 * W && valid == width) {
#pragma GCC unroll 16
        for (int i = 0; i < W; ++i) r[i] = i < width ? load_pairs(from + i * ld) : zero();
      } else {
        for (int i = 0; i < W; ++i) r[i] = i < valid ? load_pairs_n(from + i * ld, left) : zero();
      }
      transpose(r);
      float* to = dst + q * P + g * W;
      if (P < W && q + W >= pairs) {  // as in pack_rows, the last stores must not reach the next panel
        for (int s = 0; s < steps; ++s) store_n(to + s * P, r[s], width);
      } else if (steps == W) {
#pragma GCC unroll 16
        for (int s = 0; s < W; ++s) store(to + s * P, r[s]);
      } else {
        for (int s = 0; s < steps; ++s) store(to + s * P, r[s]);
      }
    }
  }
}
template <int P>
void pack_pair_columns(const bf16* src, int64_t ld, int64_t lines, int64_t k, float* dst, Panels panels) {
  constexpr int whole = P / W * W, rest = P - whole;
  const PanelParts<P> parts(lines, panels.count);
  for (int64_t p = 0; p < k; p += 2, src += 2 * ld, dst += P) {
    const bf16 *low = src, *high = p + 1 < k ? src + ld : nullptr;
    float* to = dst;
    int64_t i = 0;
    if (!rest ? p + 1 < k : p + 3 < k)
      for (; i < parts.open; ++i, low += P, high += P, to += panels.stride)
#pragma GCC unroll 4
        for (int l = 0; l < P; l += W) store(to + l, join_pairs(low + l, high + l));
    for (; i < panels.count; ++i, low += P, high += high ? P : 0, to += panels.stride)
      for (int l = 0; l < P; l += W) {
        const int keep = min_of(W, P - l),
                  have = static_cast<int>(min_of<int64_t>(keep, max_of<int64_t>(0, lines - i * P - l)));
        const F v = join_pairs_n(low + l, high ? high + l : nullptr, have);
        if (keep == W) store(to + l, v);
        else store_n(to + l, v, keep);
      }
  }
}
template <int P>
void pack_pair_panel(const void* src, int64_t ld, bool strided, int64_t line, int64_t p, int64_t lines, int64_t k,
    float* dst, Panels panels = {}) {
  const bf16* s = static_cast<const bf16*>(src) + (strided ? p * ld + line : line * ld + p);
  strided ? pack_pair_columns<P>(s, ld, lines, k, dst, panels) : pack_pair_rows<P>(s, ld, lines, k, dst);
}
#endif

}  // namespace HEDDLE_ISA
}  // namespace heddle
