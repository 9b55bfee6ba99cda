// Wrappers of the PTX instructions that the kernels use, each with an equivalent in C++ for the emulator. Section
// numbers and figures are those of NVIDIA's "Parallel Thread Execution ISA". test/emulator compares each fragment
// layout with the tables of that manual.
#pragma once
#include "cuda/runtime/launch.cuh"
#include "ops/fp8.h"
#include "core/tensor.h"

// HEDDLE_E4M3: 1 if the current target has mma.sync for e4m3. On other targets, the kernels that need the instruction
// are empty. For sm_90 and sm_100, nvcc accepts it but emulates it with f16 products and spills registers.
#if HEDDLE_EMULATED || (defined(__CUDA_ARCH__) && (__CUDA_ARCH__ == 890 || __CUDA_ARCH__ >= 1200))
#define HEDDLE_E4M3 1
#else
#define HEDDLE_E4M3 0
#endif

namespace heddle {
namespace cuda {
namespace ptx {

constexpr unsigned all_threads = 0xffffffffu;

// cvt.f32.f16: converts f16 to f32, exactly.
__device__ inline float half_to_float(uint16_t bits) {
#if HEDDLE_EMULATED
  return to_float(f16{bits});
#else
  float f;
  asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(bits));
  return f;
#endif
}

// cvt.rn.f16.f32: rounds f32 to f16, to nearest even.
__device__ inline uint16_t float_to_half(float f) {
#if HEDDLE_EMULATED
  return to_f16(f).bits;
#else
  uint16_t bits;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(f));
  return bits;
#endif
}

// cvt.rn.bf16.f32: rounds f32 to bf16, to nearest even. Every NaN becomes 0x7fff.
__device__ inline uint16_t float_to_bf16(float f) {
#if HEDDLE_EMULATED
  return f != f ? 0x7fff : to_bf16(f).bits;
#else
  uint16_t bits;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(f));
  return bits;
#endif
}

// cvt.rn.bf16x2.f32: float_to_bf16 of two floats, in one instruction.
__device__ inline uint32_t pack_bf16(float low, float high) {
#if HEDDLE_EMULATED
  return float_to_bf16(low) | static_cast<uint32_t>(float_to_bf16(high)) << 16;
#else
  uint32_t bits;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(bits) : "f"(high), "f"(low));
  return bits;
#endif
}

// ld.volatile.global.u8: reads a byte that nobody uses. A volatile load is never removed. The thread does not wait for
// it. (The instruction `prefetch` would do the same.)
__device__ inline void touch(const uint8_t* from) {
#if HEDDLE_EMULATED
  static_cast<void>(*static_cast<const volatile uint8_t*>(from));
#else
  asm volatile("{ .reg .u16 unused; ld.volatile.global.u8 unused, [%0]; }" ::"l"(__cvta_generic_to_global(from)));
#endif
}

// st.global.v4.u32 and .v2.u32: store 16 or 8 bytes at an address that is a multiple of as many. nvcc splits the
// assignment of a uint4 or float4 into words if another branch stores the same words one by one.
__device__ inline void store_words(void* to, const uint32_t (&words)[4]) {
#if HEDDLE_EMULATED
  if (reinterpret_cast<uintptr_t>(to) % 16) emulator::fatal("a store of 16 bytes to a misaligned address");
  *static_cast<uint4*>(to) = uint4{words[0], words[1], words[2], words[3]};
#else
  asm volatile("st.global.v4.u32 [%0], {%1, %2, %3, %4};" ::"l"(__cvta_generic_to_global(to)), "r"(words[0]),
      "r"(words[1]), "r"(words[2]), "r"(words[3])
      : "memory");
#endif
}
__device__ inline void store_words(void* to, const uint32_t (&words)[2]) {
#if HEDDLE_EMULATED
  if (reinterpret_cast<uintptr_t>(to) % 8) emulator::fatal("a store of 8 bytes to a misaligned address");
  *static_cast<uint2*>(to) = uint2{words[0], words[1]};
#else
  asm volatile("st.global.v2.u32 [%0], {%1, %2};" ::"l"(__cvta_generic_to_global(to)), "r"(words[0]), "r"(words[1])
      : "memory");
#endif
}

// ex2.approx.ftz.f32 (9.7.3.21): 2^x with a relative error of at most 2^-22.5. Subnormal results become 0.
__device__ inline float power_of_two(float x) {
#if HEDDLE_EMULATED
  const float power = std::exp2(x);
  return power < 1.17549435e-38f ? 0.0f : power;
#else
  float power;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(x));
  return power;
#endif
}

// rcp.approx.ftz.f32 (9.7.3.11): 1 / x with an error of at most 1 ulp. Subnormal results become 0.
__device__ inline float reciprocal(float x) {
#if HEDDLE_EMULATED
  const float inverse = 1.0f / x;
  return std::fabs(inverse) < 1.17549435e-38f ? 0.0f : inverse;
#else
  float inverse;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(inverse) : "f"(x));
  return inverse;
#endif
}

// cp.async.cg.shared.global (9.7.9.25.3.1): copies 16 bytes to shared memory without passing through registers. Reads
// only the first source_bytes bytes of the source and fills the rest of the 16 with zeros. This thread sees the bytes
// after commit_copies() and wait_copies(). Other threads see them after a barrier that follows.
__device__ inline void copy_async_16(void* to, const void* from, int source_bytes) {
#if HEDDLE_EMULATED
  emulator::copy_async(to, from, 16, source_bytes);
#else
  asm volatile(
      "cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(static_cast<unsigned>(__cvta_generic_to_shared(to))),
      "l"(from), "r"(source_bytes)
      : "memory");
#endif
}

// cp.async.ca.shared.global: like copy_async_16, for 4 bytes. (.cg allows only 16.)
__device__ inline void copy_async_4(void* to, const void* from, int source_bytes) {
#if HEDDLE_EMULATED
  emulator::copy_async(to, from, 4, source_bytes);
#else
  asm volatile(
      "cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(static_cast<unsigned>(__cvta_generic_to_shared(to))),
      "l"(from), "r"(source_bytes)
      : "memory");
#endif
}

// cp.async.commit_group: makes one group of this thread's cp.async that are not in a group yet.
__device__ inline void commit_copies() {
#if HEDDLE_EMULATED
  emulator::commit_copies();
#else
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

// cp.async.wait_group: waits until at most `pending` of this thread's most recent groups are incomplete.
template <int pending> __device__ inline void wait_copies() {
#if HEDDLE_EMULATED
  emulator::wait_copies(pending);
#else
  asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
#endif
}

// ldmatrix.sync.aligned.m8n8.x4[.trans].shared.b16 (9.7.14.5.15): loads four 8 x 8 matrices of 16-bit elements. Lane i
// provides the address of row i % 8 of matrix i / 8. Register r of lane i then holds two elements of matrix r: elements
// 2 (i % 4) and 2 (i % 4) + 1 of row i / 4, or with .trans of column i / 4.
template <bool transposed> __device__ inline void load_matrices(uint32_t (&to)[4], const void* row) {
#if HEDDLE_EMULATED
  struct Lane {
    const void* row;
    uint32_t* to;
  } mine{row, to};
  if (reinterpret_cast<uintptr_t>(row) % 16) emulator::fatal("ldmatrix of a misaligned row");
  // Reads the row, so that the race detector sees the access.
  for (int i = 0; i < 8; ++i) static_cast<void>(static_cast<const volatile uint16_t*>(row)[i]);
  emulator::collective(
      all_threads, transposed ? "ldmatrix.trans" : "ldmatrix", 0, &mine, [](void** lanes, uint32_t mask) {
    if (mask != all_threads) emulator::fatal("ldmatrix without all lanes of the warp");
    for (int i = 0; i < 32; ++i)
      for (int r = 0; r < 4; ++r) {
        const auto element = [&](int line, int column) {
          uint16_t bits;
          std::memcpy(&bits, static_cast<const char*>(static_cast<Lane*>(lanes[r * 8 + line])->row) + 2 * column, 2);
          return static_cast<uint32_t>(bits);
        };
        const int first = 2 * (i % 4), other = i / 4;
        static_cast<Lane*>(lanes[i])->to[r] = transposed ? element(first, other) | element(first + 1, other) << 16
                                                         : element(other, first) | element(other, first + 1) << 16;
      }
  });
#else
  const unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(row));
  if (transposed)
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
        : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
        : "r"(address)
        : "memory");
  else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
        : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
        : "r"(address)
        : "memory");
#endif
}

#if HEDDLE_EMULATED
inline float float_of_bf16(uint16_t bits) { return to_float(bf16{bits}); }
// The emulation of mma.sync with 16-bit operands. `number` converts an element to float.
template <float (*number)(uint16_t)>
inline void multiply_pairs(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  struct Lane {
    float* c;
    const uint32_t *a, *b;
  } mine{c, a, b};
  emulator::collective(all_threads, "mma.sync", 0, &mine, [](void** lanes, uint32_t mask) {
    if (mask != all_threads) emulator::fatal("mma.sync without all lanes of the warp");
    const auto half = [](uint32_t pair, int which) { return number(static_cast<uint16_t>(which ? pair >> 16 : pair)); };
    float left[16][16], right[16][8];
    for (int i = 0; i < 32; ++i) {
      const Lane& lane = *static_cast<Lane*>(lanes[i]);
      const int g = i / 4, t = i % 4;
      for (int e = 0; e < 2; ++e) {
        left[g][2 * t + e] = half(lane.a[0], e);
        left[g + 8][2 * t + e] = half(lane.a[1], e);
        left[g][2 * t + 8 + e] = half(lane.a[2], e);
        left[g + 8][2 * t + 8 + e] = half(lane.a[3], e);
        right[2 * t + e][g] = half(lane.b[0], e);
        right[2 * t + 8 + e][g] = half(lane.b[1], e);
      }
    }
    for (int i = 0; i < 32; ++i)
      for (int e = 0; e < 4; ++e) {
        const int row = i / 4 + (e / 2) * 8, column = 2 * (i % 4) + e % 2;
        float sum = static_cast<Lane*>(lanes[i])->c[e];
        for (int k = 0; k < 16; ++k) sum += left[row][k] * right[k][column];
        static_cast<Lane*>(lanes[i])->c[e] = sum;
      }
  });
}
#endif
// mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 (9.7.14.5.8): c (16, 8) += a (16, 16) b (16, 8). Let g = lane / 4
// (the manual's groupID) and t = lane % 4 (threadID_in_group). A register of a or b holds two elements with adjacent k:
//   a0: row g,     k = 2t, 2t + 1        a2: row g,     k = 2t + 8, 2t + 9
//   a1: row g + 8, k = 2t, 2t + 1        a3: row g + 8, k = 2t + 8, 2t + 9
//   b0: column g,  k = 2t, 2t + 1        b1: column g,  k = 2t + 8, 2t + 9
//   c0, c1: row g, columns 2t, 2t + 1    c2, c3: row g + 8, columns 2t, 2t + 1
__device__ inline void mma_bf16(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
#if HEDDLE_EMULATED
  multiply_pairs<float_of_bf16>(c, a, b);
#else
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}
// mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32: like mma_bf16, with f16 operands.
__device__ inline void mma_f16(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
#if HEDDLE_EMULATED
  multiply_pairs<half_to_float>(c, a, b);
#else
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

// cvt.rna.tf32.f32 (9.7.9.21): rounds to 10 mantissa bits, to nearest, ties away from zero. The low 13 bits become
// zero. NaN stays NaN. Values that round beyond the largest float become infinite.
__device__ inline uint32_t round_to_tf32(uint32_t f) {
#if HEDDLE_EMULATED
  if ((f & 0x7fffffffu) > 0x7f800000u) return 0x7fffffffu;
  return (f + 0x1000u) & ~0x1fffu;
#else
  uint32_t to;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(to) : "f"(__uint_as_float(f)));
  return to;
#endif
}

// mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 (9.7.14.5.7): c (16, 8) += a (16, 8) b (8, 8). With g = lane / 4
// and t = lane % 4, and c as in mma_bf16:
//   a0: row g, k = t     a1: row g + 8, k = t     a2: row g, k = t + 4     a3: row g + 8, k = t + 4
//   b0: column g, k = t                           b1: column g, k = t + 4
// Callers must pass operands with zeros in the low 13 bits (see round_to_tf32). The emulator ignores these bits.
__device__ inline void mma_tf32(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
#if HEDDLE_EMULATED
  struct Lane {
    float* c;
    const uint32_t *a, *b;
  } mine{c, a, b};
  emulator::collective(all_threads, "mma.sync.tf32", 0, &mine, [](void** lanes, uint32_t mask) {
    if (mask != all_threads) emulator::fatal("mma.sync without all lanes of the warp");
    const auto number = [](uint32_t bits) { return __uint_as_float(bits & ~0x1fffu); };
    float left[16][8], right[8][8];
    for (int i = 0; i < 32; ++i) {
      const Lane& lane = *static_cast<Lane*>(lanes[i]);
      for (int r = 0; r < 4; ++r) left[i / 4 + r % 2 * 8][i % 4 + r / 2 * 4] = number(lane.a[r]);
      for (int r = 0; r < 2; ++r) right[i % 4 + r * 4][i / 4] = number(lane.b[r]);
    }
    for (int i = 0; i < 32; ++i)
      for (int e = 0; e < 4; ++e) {
        float& sum = static_cast<Lane*>(lanes[i])->c[e];
        for (int k = 0; k < 8; ++k) sum += left[i / 4 + e / 2 * 8][k] * right[k][2 * (i % 4) + e % 2];
      }
  });
#else
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

// mma.sync.aligned.m16n8k32.row.col.f32.e4m3.e4m3.f32 (9.7.14.5.10): c (16, 8) += a (16, 32) b (32, 8), with e4m3
// operands. With g = lane / 4 and t = lane % 4, and c as in mma_bf16, a register holds four elements from k on:
//   a0: row g, k = 4t    a1: row g + 8, k = 4t    a2: row g, k = 4t + 16    a3: row g + 8, k = 4t + 16
//   b0: column g, k = 4t                          b1: column g, k = 4t + 16
// Tensor cores may accumulate with fewer bits than f32. The emulator uses f32.
__device__ inline void mma_e4m3(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
#if HEDDLE_EMULATED
  struct Lane {
    float* c;
    const uint32_t *a, *b;
  } mine{c, a, b};
  emulator::collective(all_threads, "mma.sync.e4m3", 0, &mine, [](void** lanes, uint32_t mask) {
    if (mask != all_threads) emulator::fatal("mma.sync without all lanes of the warp");
    float left[16][32], right[32][8];
    for (int i = 0; i < 32; ++i) {
      const Lane& lane = *static_cast<Lane*>(lanes[i]);
      for (int e = 0; e < 4; ++e) {
        const auto byte = [&](uint32_t word) { return e4m3_to_float(static_cast<uint8_t>(word >> 8 * e)); };
        for (int r = 0; r < 4; ++r) left[i / 4 + r % 2 * 8][4 * (i % 4) + r / 2 * 16 + e] = byte(lane.a[r]);
        for (int r = 0; r < 2; ++r) right[4 * (i % 4) + r * 16 + e][i / 4] = byte(lane.b[r]);
      }
    }
    for (int i = 0; i < 32; ++i)
      for (int e = 0; e < 4; ++e) {
        float& sum = static_cast<Lane*>(lanes[i])->c[e];
        for (int k = 0; k < 32; ++k) sum += left[i / 4 + e / 2 * 8][k] * right[k][2 * (i % 4) + e % 2];
      }
  });
#elif HEDDLE_E4M3
  asm volatile(
      "mma.sync.aligned.m16n8k32.row.col.f32.e4m3.e4m3.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

// mma.sync.aligned.m16n8k16.row.col.s32.s8.s8.s32 (9.7.14.5.9): c (16, 8) += a (16, 16) b (16, 8), with s8 operands and
// exact s32 sums. Let g = lane / 4 and t = lane % 4, with c as in mma_bf16. A register holds four elements
// from k = 4t on: a0 of row g, a1 of row g + 8, b of column g.
__device__ inline void mma_int8(int (&c)[4], const uint32_t (&a)[2], uint32_t b) {
#if HEDDLE_EMULATED
  struct Lane {
    int* c;
    const uint32_t* a;
    uint32_t b;
  } mine{c, a, b};
  emulator::collective(all_threads, "mma.sync.s8", 0, &mine, [](void** lanes, uint32_t mask) {
    if (mask != all_threads) emulator::fatal("mma.sync without all lanes of the warp");
    int left[16][16], right[16][8];
    for (int i = 0; i < 32; ++i) {
      const Lane& lane = *static_cast<Lane*>(lanes[i]);
      for (int e = 0; e < 4; ++e) {
        left[i / 4][4 * (i % 4) + e] = static_cast<int8_t>(lane.a[0] >> 8 * e);
        left[i / 4 + 8][4 * (i % 4) + e] = static_cast<int8_t>(lane.a[1] >> 8 * e);
        right[4 * (i % 4) + e][i / 4] = static_cast<int8_t>(lane.b >> 8 * e);
      }
    }
    for (int i = 0; i < 32; ++i)
      for (int e = 0; e < 4; ++e)
        for (int k = 0; k < 16; ++k)
          static_cast<Lane*>(lanes[i])->c[e] += left[i / 4 + e / 2 * 8][k] * right[k][2 * (i % 4) + e % 2];
  });
#else
  asm volatile("mma.sync.aligned.m16n8k16.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
      : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(b));
#endif
}

}  // namespace ptx
}  // namespace cuda
}  // namespace heddle
