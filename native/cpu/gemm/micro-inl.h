// The register tile of blocked matrix products on the CPU: R rows by NR = 2 W columns of c stay in registers while k
// runs. Products on AMX and of 8-bit integers have their own tiles. Layout after van Zee and van de Geijn, "BLIS: A
// Framework for Rapidly Instantiating BLAS Functionality" (2015).
#pragma once
#include "cpu/simd/simd.h"

namespace heddle {
namespace HEDDLE_ISA {

// A tile needs 2 MR registers for its sums, two for b, and one for a broadcast element of a. They fit the 16 registers,
// or the 32 of AVX-512 and NEON.
#if defined(HEDDLE_SIMD_AVX512)
constexpr int MR = 14;
#elif defined(HEDDLE_SIMD_AVX2)
constexpr int MR = 6;
#elif defined(__aarch64__)
constexpr int MR = 8;
#else
constexpr int MR = 4;
#endif
constexpr int NR = 2 * W;
// Whether a's panel stays in L1 while panels of b stream past, or the other way round. On AVX-512 a panel of b would
// fill L1. Elsewhere b's panel stays, because L2 cannot deliver the wide rows of b fast enough.
#if defined(HEDDLE_SIMD_AVX512)
constexpr bool a_in_l1 = true;
#else
constexpr bool a_in_l1 = false;
#endif

// Whether this instruction set has dot products of bf16 pairs. Such a set multiplies nothing but pairs: the set that it
// extends computes all other products (isa/below-inl.h).
#if defined(HEDDLE_SIMD_BF16)
constexpr bool bf16_pairs = true;
#else
constexpr bool bf16_pairs = false;
#endif

// Returns acc + a b. With PAIRS, each lane holds two bf16 of neighboring k, and both products are added.
template <bool PAIRS> HEDDLE_SIMD F multiply_add(F a, F b, F acc) {
#if defined(HEDDLE_SIMD_BF16)
  if (PAIRS) return dot_pairs(a, b, acc);
#endif
  return fma_in_place(a, b, acc);
}

#if defined(HEDDLE_SIMD_BF16) && defined(__aarch64__)
// Like tile_products of packed pairs, and with the same bits, but takes two pairs at a time in 2 x 2 blocks. Lines of a
// panel are adjacent. Zipping two steps therefore gives two lines with two pairs each. Loads four lines of a at a time,
// so R is a multiple of four or a's panel has MR lines.
template <int R>
HEDDLE_SIMD void block_products(
    int64_t k, const float* __restrict a, int64_t as, const float* __restrict b, int64_t bs, F (&acc)[R][2]) {
  static_assert(R % 2 == 0 && NR == 8, "a block has two rows, and a vector of b covers two blocks");
  F block[R / 2][4];
#pragma GCC unroll 4
  for (int i = 0; i < R / 2; ++i)
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j)
      block[i][j] = j % 2 ? last_halves(acc[2 * i][j / 2], acc[2 * i + 1][j / 2])
                          : first_halves(acc[2 * i][j / 2], acc[2 * i + 1][j / 2]);
  int64_t p = 0;
#pragma GCC unroll 1
  for (; p + 2 <= k; p += 2, a += 2 * as, b += 2 * bs) {
    __builtin_prefetch(a + 16 * as);
    F columns[4];
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h) {
      const F first = load(b + h * W), second = load(b + bs + h * W);
      columns[2 * h] = zip_first(first, second), columns[2 * h + 1] = zip_last(first, second);
    }
#pragma GCC unroll 4
    for (int i = 0; i < R / 2; ++i) {
      const F first = load(a + i / 2 * W), second = load(a + as + i / 2 * W);
      const F rows = i % 2 ? zip_last(first, second) : zip_first(first, second);
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) block[i][j] = multiply_blocks(rows, columns[j], block[i][j]);
    }
  }
#pragma GCC unroll 4
  for (int i = 0; i < R / 2; ++i)
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h) {
      acc[2 * i][h] = first_halves(block[i][2 * h], block[i][2 * h + 1]);
      acc[2 * i + 1][h] = last_halves(block[i][2 * h], block[i][2 * h + 1]);
    }
  if (p < k) {
    const F b0 = load(b), b1 = load(b + W);
#pragma GCC unroll 8
    for (int i = 0; i < R; ++i) {
      acc[i][0] = dot_pairs(set1(a[i]), b0, acc[i][0]);
      acc[i][1] = dot_pairs(set1(a[i]), b1, acc[i][1]);
    }
  }
}
#endif

// acc (R, NR) += sum over p < k of a(i, p) b(p, :).
// PACKED: a(i, p) is at a[p * as + i]; otherwise at a[i * as + p]. b(p, j) is at b[p * bs + j].
// With PAIRS, k counts pairs. A_STREAMS: a's panel is not in L1 either and is prefetched.
template <int R, bool PACKED, bool PAIRS, bool A_STREAMS = false>
HEDDLE_SIMD void tile_products(
    int64_t k, const float* __restrict a, int64_t as, const float* __restrict b, int64_t bs, F (&acc)[R][2]) {
#if defined(HEDDLE_SIMD_BF16) && defined(__aarch64__)
  if constexpr (PACKED && PAIRS && R % 2 == 0)
    if (R % W == 0 || as == MR) return block_products<R>(k, a, as, b, bs, acc);
#endif
  const auto step = [&]() HEDDLE_INLINE_LAMBDA {
    F b0 = load(b), b1 = load(b + W);
#pragma GCC unroll 16
    for (int i = 0; i < R; ++i) {
      F ai = set1(PACKED ? a[i] : a[i * as]);
      acc[i][0] = multiply_add<PAIRS>(ai, b0, acc[i][0]);
      acc[i][1] = multiply_add<PAIRS>(ai, b1, acc[i][1]);
    }
    a += PACKED ? as : 1;
    b += bs;
  };
  int64_t p = 0;
  if (PACKED && !a_in_l1) {
#pragma GCC unroll 1
    for (; p + 4 <= k; p += 4) {
      // Prefetches a's panels, which stream from the outer cache while b's panel stays in L1.
      __builtin_prefetch(a + 16 * as), __builtin_prefetch(a + 16 * as + 16);
      step(), step(), step(), step();
    }
  }
#pragma GCC unroll 1
  for (; p < k; ++p) {
    // The distance covers the latency of the outer cache. Prefetching earlier would evict a's panel from L1.
    if (PACKED && a_in_l1) __builtin_prefetch(b + 16 * NR), __builtin_prefetch(b + 16 * NR + W);
    if (A_STREAMS && a_in_l1) __builtin_prefetch(a + 32 * as);
    step();
  }
}
template <int R> HEDDLE_SIMD void init_tile(F (&acc)[R][2], const float* bias) {
  const F bias0 = bias ? load(bias) : zero(), bias1 = bias ? load(bias + W) : zero();
#pragma GCC unroll 16
  for (int i = 0; i < R; ++i) acc[i][0] = bias0, acc[i][1] = bias1;
}
// Prefetches the sums that add_tile will read. They are not in L1, and arrive while the products run.
template <int R> HEDDLE_SIMD void prefetch_tile(const float* sums, int64_t stride) {
  for (int i = 0; i < R; ++i) __builtin_prefetch(sums + i * stride, 1), __builtin_prefetch(sums + i * stride + W, 1);
}
template <int R> HEDDLE_SIMD void add_tile(F (&acc)[R][2], const float* sums, int64_t stride) {
#pragma GCC unroll 16
  for (int i = 0; i < R; ++i) {
    acc[i][0] = add(acc[i][0], load(sums + i * stride));
    acc[i][1] = add(acc[i][1], load(sums + i * stride + W));
  }
}

template <int R> HEDDLE_SIMD void store_tile(const F (&acc)[R][2], float* sums, int64_t stride) {
#pragma GCC unroll 16
  for (int i = 0; i < R; ++i) store(sums + i * stride, acc[i][0]), store(sums + i * stride + W, acc[i][1]);
}

// c (R, NR) = [c +] [bias +] a b.
template <int R, bool PACKED, bool PAIRS = false, bool A_STREAMS = false>
[[gnu::noinline]] void micro_tile(int64_t k, const float* __restrict a, int64_t as, const float* __restrict b,
    int64_t bs, float* __restrict c, int64_t cs, const float* bias, bool accumulate) {
  if (accumulate) prefetch_tile<R>(c, cs);
  F acc[R][2];
  init_tile(acc, bias);
  tile_products<R, PACKED, PAIRS, A_STREAMS>(k, a, as, b, bs, acc);
  if (accumulate) add_tile(acc, c, cs);
  store_tile(acc, c, cs);
}

// The last step of a bf16 output, from packed operands: c (MR, NR) = [sums +] [bias +] a b, rounded to bf16.
template <bool PAIRS, bool A_STREAMS>
[[gnu::noinline]] void rounding_tile(int64_t k, const float* __restrict a, const float* __restrict b,
    bf16* __restrict c, int64_t cs, const float* bias, const float* __restrict sums, int64_t stride) {
  if (sums) prefetch_tile<MR>(sums, stride);
  F acc[MR][2];
  init_tile(acc, bias);
  tile_products<MR, true, PAIRS, A_STREAMS>(k, a, MR, b, NR, acc);
  if (sums) add_tile(acc, sums, stride);
#pragma GCC unroll 16
  for (int i = 0; i < MR; ++i) store_two(c + i * cs, acc[i][0], acc[i][1]);
}

// Like rounding_tile, but splits k into parts of `part` and keeps f32 sums between them.
template <bool PAIRS>
HEDDLE_SIMD void rounding_parts(
    int64_t k, int64_t part, const float* a, const float* b, bf16* c, int64_t cs, const float* bias) {
  alignas(64) float sums[MR * NR];
  int64_t p = 0;
  for (; p + part < k; p += part)
    micro_tile<MR, true, PAIRS, true>(part, a + p * MR, MR, b + p * NR, NR, sums, NR, p ? nullptr : bias, p > 0);
  rounding_tile<PAIRS, true>(k - p, a + p * MR, b + p * NR, c, cs, nullptr, sums, NR);
}

using MicroTile = void (*)(int64_t, const float*, int64_t, const float*, int64_t, float*, int64_t, const float*, bool);

// Returns the kernel for `rows` in [1, MR] rows.
template <bool PACKED, bool PAIRS = false> HEDDLE_SIMD MicroTile micro_tile_for(int64_t rows) {
  switch (rows) {
#if defined(HEDDLE_SIMD_AVX512)
    case 14: return micro_tile<14, PACKED, PAIRS>;
    case 13: return micro_tile<13, PACKED, PAIRS>;
    case 12: return micro_tile<12, PACKED, PAIRS>;
    case 11: return micro_tile<11, PACKED, PAIRS>;
    case 10: return micro_tile<10, PACKED, PAIRS>;
    case 9: return micro_tile<9, PACKED, PAIRS>;
#endif
#if defined(HEDDLE_SIMD_AVX512) || defined(__aarch64__)
    case 8: return micro_tile<8, PACKED, PAIRS>;
    case 7: return micro_tile<7, PACKED, PAIRS>;
#endif
#if defined(HEDDLE_SIMD_AVX512) || defined(HEDDLE_SIMD_AVX2) || defined(__aarch64__)
    case 6: return micro_tile<6, PACKED, PAIRS>;
    case 5: return micro_tile<5, PACKED, PAIRS>;
#endif
    case 4: return micro_tile<4, PACKED, PAIRS>;
    case 3: return micro_tile<3, PACKED, PAIRS>;
    case 2: return micro_tile<2, PACKED, PAIRS>;
    default: return micro_tile<1, PACKED, PAIRS>;
  }
}

}  // namespace HEDDLE_ISA
}  // namespace heddle
