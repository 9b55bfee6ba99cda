// The packed forms of int8_packed-inl.h. A "four" is four neighboring elements of one output, in one lane of a vector.
// Each form defines the layout of a block of a panel (W outputs by 64 or 256 elements). It reads the block's fours and
// scales, and packs the block from the stored type. Blocks are aligned like vectors. Elements beyond the last one are
// zero. Sizes below are for 16 outputs.
#pragma once
#include "cpu/quant/int8_gemm-inl.h"

#if defined(HEDDLE_INT8_PACKED)
namespace heddle {
namespace HEDDLE_ISA {

constexpr int fours_bytes = 4 * W;  // size of a vector of fours

#if defined(HEDDLE_SIMD_AVX512)
HEDDLE_SIMD Lanes low_nibbles(Lanes v) { return _mm512_and_si512(v, _mm512_set1_epi8(15)); }
HEDDLE_SIMD Lanes high_nibbles(Lanes v) { return low_nibbles(_mm512_srli_epi16(v, 4)); }
using FourBits = uint64_t;  // one bit for each byte of a vector
HEDDLE_SIMD Lanes with_sixteen(Lanes v, FourBits where) {
  return _mm512_mask_add_epi8(v, where, v, _mm512_set1_epi8(16));
}
// Returns bits 2 p and 2 p + 1 of each byte, moved to bits 4 and 5.
HEDDLE_SIMD Lanes pair_as_upper(Lanes v, int p) {
  const Lanes placed = p == 0   ? _mm512_slli_epi16(v, 4)
                       : p == 1 ? _mm512_slli_epi16(v, 2)
                       : p == 2 ? v
                                : _mm512_srli_epi16(v, 2);
  return _mm512_and_si512(placed, _mm512_set1_epi8(48));
}
HEDDLE_SIMD Lanes either(Lanes a, Lanes b) { return _mm512_or_si512(a, b); }
#else
HEDDLE_SIMD Lanes low_nibbles(Lanes v) { return and15(v); }
HEDDLE_SIMD Lanes high_nibbles(Lanes v) { return and15(_mm256_srli_epi16(v, 4)); }
using FourBits = uint32_t;
HEDDLE_SIMD Lanes with_sixteen(Lanes v, FourBits where) {
  // Copies the byte that holds bit i to byte i of the vector.
  const Bytes holder = _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
  const Bytes own = _mm256_set1_epi64x(static_cast<int64_t>(0x8040201008040201u));
  const Bytes bit = _mm256_and_si256(_mm256_shuffle_epi8(_mm256_set1_epi32(static_cast<int32_t>(where)), holder), own);
  return _mm256_or_si256(v, _mm256_and_si256(_mm256_cmpeq_epi8(bit, own), _mm256_set1_epi8(16)));
}
HEDDLE_SIMD Lanes pair_as_upper(Lanes v, int p) {
  const Lanes placed = p == 0   ? _mm256_slli_epi16(v, 4)
                       : p == 1 ? _mm256_slli_epi16(v, 2)
                       : p == 2 ? v
                                : _mm256_srli_epi16(v, 2);
  return _mm256_and_si256(placed, _mm256_set1_epi8(48));
}
HEDDLE_SIMD Lanes either(Lanes a, Lanes b) { return _mm256_or_si256(a, b); }
#endif
HEDDLE_SIMD F packed_halves(const uint8_t* at) { return load(reinterpret_cast<const f16*>(at)); }
HEDDLE_SIMD F packed_bytes(const uint8_t* at) { return load(reinterpret_cast<const int8_t*>(at)); }

// Transposes lines of fours_bytes bytes, one per output, to `count` vectors of fours. Stores vector v at at(v).
template <class At> HEDDLE_SIMD void store_fours(F (&lines)[W], int count, const At& at) {
  transpose(lines);
#pragma GCC unroll 16
  for (int v = 0; v < W; ++v)
    if (v < count) store(reinterpret_cast<float*>(at(v)), lines[v]);
}
// Transposes longer lines in memory, each a multiple of fours_bytes bytes.
template <int BYTES, class At> HEDDLE_SIMD void store_all_fours(const uint8_t (&lines)[W][BYTES], const At& at) {
  static_assert(BYTES % fours_bytes == 0);
  for (int part = 0; part < BYTES; part += fours_bytes) {
    F t[W];
#pragma GCC unroll 16
    for (int r = 0; r < W; ++r) t[r] = load(reinterpret_cast<const float*>(lines[r] + part));
    store_fours(t, W, [&](int v) { return at(part / 4 + v); });
  }
}

// Flags of a form. is_parted: signs are stored separately (Widened<Packed8>). is_near: panels are in cache and need no
// prefetching. Blocks hold their fields in reading order, because prefetching runs only a little ahead of the stream.
// q8_0: 2 x 16 scales, then 2 units of 8 vectors of integers. 128 is added to the integers if the instruction needs
// unsigned ones.
// q4_0: the scales, then 2 units of 4 vectors of integers, with 8 added. As in a stored block, vector i has the fours i
// (low nibbles) and i + 4 (high nibbles).
// q5_0: integers with 16 added, like q4_0 with a fifth bit. A unit begins with the fifth bits of its fours 0 to 7, in
// reading order. The 16 outputs have 64 such bits per four.
template <DType T> struct PackedPlain {
  static constexpr DType type = T;
  static constexpr bool fifth = T == DType::q5_0, nibbles = fifth || T == DType::q4_0, has_minimum = false,
                        is_signed = !nibbles && signed_offset == 0, is_parted = false, is_near = false;
  static constexpr int units = 2, groups = 1,
                       offset = fifth     ? 16
                                : nibbles ? 8
                                          : signed_offset,
                       vectors = nibbles ? 4 : 8;
  // Maximum number of fours whose products with activations up to 127 can be added up in 16 bits.
  static constexpr int run = fifth ? 4 : nibbles ? 8 : 1;
  static constexpr int64_t scales_at = 0, units_at = units * W * 2, each = (fifth + vectors) * fours_bytes,
                           bytes = units_at + units * each;
  static constexpr int64_t vector_at(int u, int v) { return units_at + u * each + (fifth + v) * fours_bytes; }
  // Returns the index of the four that is read j-th. Both fours of a vector are read one after the other.
  static constexpr int place(int j) { return nibbles ? j / 2 + j % 2 * 4 : j; }
  HEDDLE_SIMD Lanes four(const uint8_t* at, int u, int j) {
    if (!nibbles) return load_lanes(at + vector_at(u, j));
    const Lanes v = load_lanes(at + vector_at(u, j / 2));
    const Lanes low = j % 2 ? high_nibbles(v) : low_nibbles(v);
    if (!fifth) return low;
    FourBits bits;
    __builtin_memcpy(&bits, at + units_at + u * each + j * sizeof bits, sizeof bits);
    return with_sixteen(low, bits);
  }
  HEDDLE_SIMD F scale(const uint8_t* at, int u, int) { return packed_halves(at + scales_at + u * W * 2); }
  HEDDLE_SIMD F minimum(const uint8_t*, int) { return zero(); }

  HEDDLE_SIMD Bytes integers(const uint8_t* stored) {
    if (!nibbles) return _mm256_xor_si256(load_bytes(stored + 2), _mm256_set1_epi8(static_cast<char>(signed_offset)));
    return _mm256_castsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(stored + (fifth ? 6 : 2))));
  }
  static void pack(const QuantLinear& p, int64_t panel, uint8_t* to) {
    constexpr int size = 2 + (fifth ? 4 : 0) + vectors * 4;  // bytes of a stored unit, which begins with its scale
    constexpr int sets = units * vectors < W ? 1 : units * vectors / W;  // number of sets of W lines
    const int64_t count = p.k / unit;
    alignas(64) static constexpr uint8_t nothing[size] = {};
    for (int64_t b = 0; b < ceil_div(count, units); ++b, to += bytes) {
      F lines[sets][W];
      uint16_t* scales = reinterpret_cast<uint16_t*>(to + scales_at);
      FourBits bits[units][8] = {};
#pragma GCC unroll 16
      for (int r = 0; r < W; ++r) {
        const bool there = panel * W + r < p.n;
        const uint8_t* from = static_cast<const uint8_t*>(p.w) + ((panel * W + r) * count + units * b) * size;
        if (there) __builtin_prefetch(from + 512);
        const uint8_t* first = there ? from : nothing;
        const uint8_t* second = there && units * b + 1 < count ? from + size : nothing;
        __builtin_memcpy(scales + r, first, 2);
        __builtin_memcpy(scales + W + r, second, 2);
        const Bytes low = integers(first), high = integers(second);
        const Bytes halves = joined(_mm256_castsi256_si128(low), _mm256_castsi256_si128(high));
#if defined(HEDDLE_SIMD_AVX512)
        const __m512i whole = _mm512_inserti64x4(_mm512_castsi256_si512(nibbles ? halves : low), high, 1);
        lines[0][r] = _mm512_castsi512_ps(whole);
#else
        lines[0][r] = _mm256_castsi256_ps(nibbles ? halves : low);
        if (!nibbles) lines[sets - 1][r] = _mm256_castsi256_ps(high);
#endif
        for (int u = 0; fifth && u < units; ++u) {
          uint32_t own;
          __builtin_memcpy(&own, (u ? second : first) + 2, 4);
          for (int j = 0; j < 8; ++j) bits[u][j] |= static_cast<FourBits>(own >> 4 * place(j) & 15) << 4 * r;
        }
      }
      for (int u = 0; fifth && u < units; ++u) __builtin_memcpy(to + units_at + u * each, bits[u], sizeof bits[u]);
      for (int s = 0; s < sets; ++s)
        store_fours(lines[s], units * vectors / sets,
            [&](int v) { return to + vector_at((s * W + v) / vectors, (s * W + v) % vectors); });
    }
  }
};
using Packed8 = PackedPlain<DType::q8_0>;
using Packed4 = PackedPlain<DType::q4_0>;
using Packed5 = PackedPlain<DType::q5_0>;

// Packs the 32 integers of a unit into 16 bytes: low nibbles from the first half, high nibbles from the second.
HEDDLE_SIMD __m128i nibbles_of(const int8_t* q) {
  const __m128i low = _mm_loadu_si128(reinterpret_cast<const __m128i*>(q)),
                high = _mm_loadu_si128(reinterpret_cast<const __m128i*>(q + 16));
  const __m128i mask = _mm_set1_epi8(15);
  return _mm_or_si128(_mm_and_si128(low, mask), _mm_slli_epi16(_mm_and_si128(high, mask), 4));
}
// Returns the stored block b of output r of a panel, or null beyond the last output.
HEDDLE_SIMD const uint8_t* stored_block(const QuantLinear& p, int64_t panel, int r, int64_t b, int size) {
  const int64_t row = panel * W + r;
  return row < p.n ? static_cast<const uint8_t*>(p.w) + (row * (p.k / span) + b) * size : nullptr;
}

// q4_k: 16 d and 16 dmin (f16). Then for each two units: 2 x 16 scales and 2 x 16 minima, one byte each, and the units'
// 8 vectors as in q4_0.
struct Packed4K {
  static constexpr DType type = DType::q4_k;
  static constexpr bool has_minimum = true;
  static constexpr int units = 8, groups = 1, offset = 0, stored = 144, run = 8;
  static constexpr bool is_signed = false, is_parted = false, is_near = false;
  static constexpr int64_t pairs_at = 2 * W * 2, pair = 4 * W + 8 * fours_bytes, bytes = pairs_at + units / 2 * pair;
  static constexpr int64_t scale_at(int u) { return pairs_at + u / 2 * pair + u % 2 * W; }
  static constexpr int64_t minimum_at(int u) { return scale_at(u) + 2 * W; }
  // v: index of a vector among those of all units.
  static constexpr int64_t vector_at(int v) { return pairs_at + v / 8 * pair + 4 * W + v % 8 * fours_bytes; }
  static constexpr int place(int j) { return j / 2 + j % 2 * 4; }
  HEDDLE_SIMD Lanes four(const uint8_t* at, int u, int j) {
    const Lanes v = load_lanes(at + vector_at(4 * u) + j / 2 * fours_bytes);
    return j % 2 ? high_nibbles(v) : low_nibbles(v);
  }
  HEDDLE_SIMD F scale(const uint8_t* at, int u, int) { return mul(packed_halves(at), packed_bytes(at + scale_at(u))); }
  HEDDLE_SIMD F minimum(const uint8_t* at, int u) {
    return mul(packed_halves(at + 2 * W), packed_bytes(at + minimum_at(u)));
  }

  static void pack(const QuantLinear& p, int64_t panel, uint8_t* to) {
    for (int64_t b = 0; b < p.k / span; ++b, to += bytes) {
      alignas(64) uint8_t lines[W][128];
      for (int r = 0; r < W; ++r) {
        const uint8_t* from = stored_block(p, panel, r, b, stored);
        alignas(64) static constexpr uint8_t nothing[stored] = {};
        if (!from) from = nothing;
        alignas(64) int8_t q[span];
        float raw[8], lowest[8];
        six_bit_scales(from + 4, 1, 1, raw, lowest);
        for (int c = 0; c < 4; ++c) low_then_high<2>(from + 16 + 32 * c, 0, q + 64 * c);
        for (int u = 0; u < units; ++u) {
          _mm_store_si128(reinterpret_cast<__m128i*>(lines[r] + 16 * u), nibbles_of(q + unit * u));
          to[scale_at(u) + r] = static_cast<uint8_t>(raw[u]);
          to[minimum_at(u) + r] = static_cast<uint8_t>(-lowest[u]);
        }
        __builtin_memcpy(to + 2 * r, from, 2);
        __builtin_memcpy(to + 2 * (W + r), from + 2, 2);
      }
      store_all_fours(lines, [&](int v) { return to + vector_at(v); });
    }
  }
};

// q6_k: 16 d (f16), padded. Then for each two units: 4 x 16 signed scales, and per unit 6 vectors. Four vectors hold
// low nibbles as in q4_0. The other two hold upper bit pairs, of fours 0 to 3 and of fours 4 to 7, from the lowest bits
// on. The integers have 32 added.
struct Packed6K {
  static constexpr DType type = DType::q6_k;
  static constexpr bool has_minimum = false;
  static constexpr int units = 8, groups = 2, offset = 32, stored = 210, run = 2;
  static constexpr bool is_signed = false, is_parted = false, is_near = false;
  static constexpr int64_t pairs_at = 2 * W * 2, pair = 4 * W + 12 * fours_bytes, bytes = pairs_at + units / 2 * pair;
  static constexpr int64_t scale_at(int g) { return pairs_at + g / 4 * pair + g % 4 * W; }
  // v: index of a vector among those of all units.
  static constexpr int64_t vector_at(int v) { return pairs_at + v / 12 * pair + 4 * W + v % 12 * fours_bytes; }
  static constexpr int place(int j) { return j; }
  HEDDLE_SIMD Lanes four(const uint8_t* at, int u, int j) {
    const uint8_t* own = at + vector_at(6 * u);
    const Lanes v = load_lanes(own + j % 4 * fours_bytes), high = load_lanes(own + (4 + j / 4) * fours_bytes);
    return either(j < 4 ? low_nibbles(v) : high_nibbles(v), pair_as_upper(high, j % 4));
  }
  HEDDLE_SIMD F scale(const uint8_t* at, int u, int g) {
    return mul(packed_halves(at), packed_bytes(at + scale_at(2 * u + g)));
  }
  HEDDLE_SIMD F minimum(const uint8_t*, int) { return zero(); }

  static void pack(const QuantLinear& p, int64_t panel, uint8_t* to) {
    for (int64_t b = 0; b < p.k / span; ++b, to += bytes) {
      alignas(64) uint8_t lines[W][192] = {};
      for (int r = 0; r < W; ++r) {
        const uint8_t* from = stored_block(p, panel, r, b, stored);
        alignas(64) static constexpr uint8_t nothing[stored] = {};
        if (!from) from = nothing;
        alignas(64) int8_t q[span];
        float unused[16];
        Unpack<DType::q6_k>::run(from, q, unused, unused);
        for (int e = 0; e < span; ++e) q[e] = static_cast<int8_t>(q[e] + offset);
        for (int u = 0; u < units; ++u) {
          const int8_t* own = q + unit * u;
          _mm_storeu_si128(reinterpret_cast<__m128i*>(lines[r] + 24 * u), nibbles_of(own));
          for (int g = 0; g < 2; ++g) {
            uint32_t fours[4], joined_pairs = 0;
            __builtin_memcpy(fours, own + 16 * g, 16);
            for (int f = 0; f < 4; ++f) joined_pairs |= (fours[f] >> 4 & 0x03030303u) << 2 * f;
            __builtin_memcpy(lines[r] + 24 * u + 16 + 4 * g, &joined_pairs, 4);
          }
        }
        for (int g = 0; g < 16; ++g) to[scale_at(g) + r] = from[192 + g];
        __builtin_memcpy(to + 2 * r, from + 208, 2);
        __builtin_memset(to + 2 * (W + r), 0, 2);  // padding
      }
      store_all_fours(lines, [&](int v) { return to + vector_at(v); });
    }
  }
};

template <class P> int64_t packed_blocks(int64_t k) { return ceil_div(k / unit, P::units); }
template <class P> int64_t packed_panel_bytes(int64_t k) { return packed_blocks<P>(k) * P::bytes; }

// The form for products with many rows: that of q8_0, with the integers of P. Each thread widens panels for itself and
// reads them from cache.
#if defined(HEDDLE_SIMD_AVX512)
template <class P> using Widened = Packed8;
#else
template <class P> struct Widened : Packed8 {
  static constexpr int run = P::run, offset = P::offset;
  static constexpr bool is_signed = false, is_near = true;
};
// Stores vectors of the magnitudes of signed integers, each followed by a mask that is -1 where the integer is
// negative. There, w x = |w| (x ^ mask) + |w|, and the |w| are summed in advance (`negatives`). Applying the sign to x
// with VPSIGNB would occupy a port that multiplications need. 16 bits hold at most two products of 128 by -128.
#if !defined(HEDDLE_DOT_OF_FOUR)
template <> struct Widened<Packed8> : Packed8 {
  static constexpr bool is_signed = false, is_parted = true, is_near = true;
  static constexpr int64_t four_bytes = 2 * fours_bytes, negatives_at = 8 * four_bytes, each = negatives_at + W * 4;
  static constexpr int64_t halves_at = units * each, bytes = halves_at + units * W * 2;
  HEDDLE_SIMD Lanes four(const uint8_t* at, int u, int j) { return load_lanes(at + u * each + j * four_bytes); }
  HEDDLE_SIMD Lanes mask(const uint8_t* at, int u, int j) {
    return load_lanes(at + u * each + j * four_bytes + fours_bytes);
  }
  HEDDLE_SIMD Lanes negatives(const uint8_t* at, int u) { return load_lanes(at + u * each + negatives_at); }
  HEDDLE_SIMD F scale(const uint8_t* at, int u, int) { return packed_halves(at + halves_at + u * W * 2); }
};
#endif
#endif
template <class P> void widen_panel(const uint8_t* from, int64_t k, uint8_t* to) {
  for (int64_t b = 0; b < packed_blocks<P>(k); ++b, from += P::bytes, to += Packed8::bytes) {
    for (int u = 0; u < 2; ++u)
#pragma GCC unroll 8
      for (int j = 0; j < 8; ++j) store_lanes(to + Packed8::vector_at(u, P::place(j)), P::four(from, u, j));
    __builtin_memcpy(to + Packed8::scales_at, from + P::scales_at, 2 * W * 2);
  }
}
#if !defined(HEDDLE_DOT_OF_FOUR)
template <> inline void widen_panel<Packed8>(const uint8_t* from, int64_t k, uint8_t* to) {
  using Wide = Widened<Packed8>;
  for (int64_t b = 0; b < packed_blocks<Packed8>(k); ++b, from += Packed8::bytes, to += Wide::bytes) {
    for (int u = 0; u < Wide::units; ++u) {
      uint8_t* own = to + u * Wide::each;
      Lanes negatives = same_lanes(0);
#pragma GCC unroll 8
      for (int j = 0; j < 8; ++j) {
        const Lanes w = Packed8::four(from, u, j), size = magnitude8(w), mask = below8(w);
        store_lanes(own + j * Wide::four_bytes, size);
        store_lanes(own + j * Wide::four_bytes + fours_bytes, mask);
        negatives = plus(negatives, pair_products16(pair_products8(size, magnitude8(mask)), ones16()));
      }
      store_lanes(own + Wide::negatives_at, negatives);
    }
    __builtin_memcpy(to + Wide::halves_at, from + Packed8::scales_at, Wide::units * W * 2);
  }
}
#endif

}  // namespace HEDDLE_ISA
}  // namespace heddle
#endif
