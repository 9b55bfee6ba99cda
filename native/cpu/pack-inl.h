// Packing: an operand of a matrix product, in any dtype and either storage order, becomes f32 panels of P lines by k:
// panel[p * P + i] = source(line i, p). Lines beyond the matrix are zero.
#pragma once
#include "cpu/simd.h"

namespace heddle {
namespace HEDDLE_ISA {

// Lines are contiguous in k: source(i, p) = src[i * ld + p]. Transposes W x W blocks in registers.
template <int P, class T>
void pack_rows(const T* src, int64_t ld, int64_t lines, int64_t k, float* dst) {
  static_assert(P % W == 0 || P < W, "a store that runs over a line's end must be covered by the next one");
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
      if (P < W && p + W >= k) {  // the last stores must not reach into the next panel, which another thread may own
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

// Lines are contiguous for a fixed k: source(i, p) = src[p * ld + i].
template <int P, class T>
void pack_columns(const T* src, int64_t ld, int64_t lines, int64_t k, float* dst) {
  constexpr int whole = P / W * W, rest = P - whole;
  // Of a part of a vector, all lanes are read where the row has them, and stored where the next line of the panel follows.
  bool spare = lines >= round_up(P, W);
  if (lines >= P) {
    for (int64_t p = 0; p < k; ++p, src += ld, dst += P) {
#pragma GCC unroll 4
      for (int i = 0; i < whole; i += W) store(dst + i, load(src + i));
      if (!rest) continue;
      if (spare && p + 1 < k) store(dst + whole, load(src + whole));
      else store_n(dst + whole, load_n(src + whole, rest), rest);
    }
    return;
  }
  for (int64_t p = 0; p < k; ++p, src += ld, dst += P)
    for (int i = 0; i < P; i += W) {
      int have = static_cast<int>(min_of<int64_t>(W, max_of<int64_t>(0, lines - i)));
      int keep = min_of(W, P - i);
      F v = have == W ? load(src + i) : have ? load_n(src + i, have) : zero();
      if (keep == W) store(dst + i, v);
      else store_n(dst + i, v, keep);
    }
}

// `strided`: lines contiguous for a fixed k. `line`, `p` = the panel's origin in the operand.
template <int P>
void pack_panel(const void* src, DType type, int64_t ld, bool strided, int64_t line, int64_t p, int64_t lines, int64_t k, float* dst) {
  int64_t at = strided ? p * ld + line : line * ld + p;
  if (type == DType::f32) {
    const float* s = static_cast<const float*>(src) + at;
    strided ? pack_columns<P>(s, ld, lines, k, dst) : pack_rows<P>(s, ld, lines, k, dst);
  } else if (type == DType::bf16) {
    const bf16* s = static_cast<const bf16*>(src) + at;
    strided ? pack_columns<P>(s, ld, lines, k, dst) : pack_rows<P>(s, ld, lines, k, dst);
  } else {
    const f16* s = static_cast<const f16*>(src) + at;
    strided ? pack_columns<P>(s, ld, lines, k, dst) : pack_rows<P>(s, ld, lines, k, dst);
  }
}

#if defined(HEDDLE_SIMD_BF16)
// The same for bf16 operands of the pair dot product: panel[q * P + i] = (source(i, 2q), source(i, 2q + 1)) as the bits
// of one float; an odd k ends with a zero.
template <int P> void pack_pair_rows(const bf16* src, int64_t ld, int64_t lines, int64_t k, float* dst) {
  static_assert(P % W == 0 || P < W, "as in pack_rows");
  constexpr int groups = P < W ? 1 : P / W, width = P < W ? P : W;
  int64_t pairs = ceil_div(k, 2);
  for (int64_t q = 0; q < pairs; q += W) {
    int64_t steps = min_of<int64_t>(W, pairs - q), left = k - 2 * q;
    for (int g = 0; g < groups; ++g) {
      F r[W];
      const bf16* from = src + g * W * ld + 2 * q;
      int64_t valid = min_of<int64_t>(width, max_of<int64_t>(0, lines - g * W));
      if (left >= 2 * W && valid == width) {
#pragma GCC unroll 16
        for (int i = 0; i < W; ++i) r[i] = i < width ? load_pairs(from + i * ld) : zero();
      } else {
        for (int i = 0; i < W; ++i) r[i] = i < valid ? load_pairs_n(from + i * ld, left) : zero();
      }
      transpose(r);
      float* to = dst + q * P + g * W;
      if (P < W && q + W >= pairs) {  // as in pack_rows
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
template <int P> void pack_pair_columns(const bf16* src, int64_t ld, int64_t lines, int64_t k, float* dst) {
  constexpr int whole = P / W * W, rest = P - whole;
  bool spare = lines >= round_up(P, W);
  int64_t p = 0;
  if (lines >= P)
    for (; p + 2 <= k; p += 2, src += 2 * ld, dst += P) {
#pragma GCC unroll 4
      for (int i = 0; i < whole; i += W) store(dst + i, join_pairs(src + i, src + ld + i));
      if (!rest) continue;
      if (spare && p + 4 <= k) store(dst + whole, join_pairs(src + whole, src + ld + whole));
      else store_n(dst + whole, join_pairs_n(src + whole, src + ld + whole, rest), rest);
    }
  for (; p < k; p += 2, src += 2 * ld, dst += P)
    for (int i = 0; i < P; i += W) {
      int keep = min_of(W, P - i), have = static_cast<int>(min_of<int64_t>(keep, max_of<int64_t>(0, lines - i)));
      F v = join_pairs_n(src + i, p + 1 < k ? src + ld + i : nullptr, have);
      if (keep == W) store(dst + i, v);
      else store_n(dst + i, v, keep);
    }
}
template <int P>
void pack_pair_panel(const void* src, int64_t ld, bool strided, int64_t line, int64_t p, int64_t lines, int64_t k, float* dst) {
  const bf16* s = static_cast<const bf16*>(src) + (strided ? p * ld + line : line * ld + p);
  strided ? pack_pair_columns<P>(s, ld, lines, k, dst) : pack_pair_rows<P>(s, ld, lines, k, dst);
}
#endif

}  // namespace HEDDLE_ISA
}  // namespace heddle
