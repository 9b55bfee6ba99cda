// Wrappers of wgmma.mma_async. An accumulator of N columns has N / 2 registers, which inline assembly must name one by
// one. The macros list these names. The wrappers are overloaded by the number of registers. ptx_sm90.cuh describes the
// layouts.
#pragma once
#include <cstdint>

namespace heddle {
namespace cuda {
namespace ptx {

// "%0, %1, …": the names of the accumulator registers, which are the first operands of the assembly.
#define HEDDLE_NAMES_32 \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, " \
  "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define HEDDLE_NAMES_48 \
  HEDDLE_NAMES_32 ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47"
#define HEDDLE_NAMES_64 \
  HEDDLE_NAMES_48 ", %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define HEDDLE_NAMES_128 \
  HEDDLE_NAMES_64 \
  ", %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79" \
  ", %80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95" \
  ", %96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111" \
  ", %112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"

// "+f"(d[0]), "+f"(d[1]), …: the accumulator registers as operands that are read and written.
#define HEDDLE_SUMS_8(d, i) \
  "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), "+f"(d[i + 6]), \
      "+f"(d[i + 7])
#define HEDDLE_SUMS_16(d, i) HEDDLE_SUMS_8(d, i), HEDDLE_SUMS_8(d, i + 8)
#define HEDDLE_SUMS_32(d) HEDDLE_SUMS_16(d, 0), HEDDLE_SUMS_16(d, 16)
#define HEDDLE_SUMS_48(d) HEDDLE_SUMS_32(d), HEDDLE_SUMS_16(d, 32)
#define HEDDLE_SUMS_64(d) HEDDLE_SUMS_48(d), HEDDLE_SUMS_16(d, 48)
#define HEDDLE_SUMS_128(d) \
  HEDDLE_SUMS_64(d), HEDDLE_SUMS_16(d, 64), HEDDLE_SUMS_16(d, 80), HEDDLE_SUMS_16(d, 96), HEDDLE_SUMS_16(d, 112)

// The instruction, with its scale-d predicate set from operand number `add`: d = a b if that operand is 0, otherwise
// d += a b. `rest` holds the arguments after d. Callers pass the numbers of the operands after d, which depend on the
// number of registers.
#define HEDDLE_WGMMA(shape, registers, add, rest) \
  "{\n.reg .pred p;\nsetp.ne.b32 p, %" #add ", 0;\nwgmma.mma_async.sync.aligned." shape " {" HEDDLE_NAMES_##registers \
      "}, " rest ";\n}\n"

// Defines d (64, n) (+)= a b, with both operands in shared memory. a_, b_, add_, ta and tb are the operand numbers of
// a, b, scale-d, imm-trans-a and imm-trans-b. The two literal 1s are imm-scale-a and imm-scale-b.
#define HEDDLE_WGMMA_BF16(n, registers, a_, b_, add_, ta, tb) \
  template <bool a_transposed, bool b_transposed> \
  __device__ inline void wgmma_bf16(float(&d)[registers], uint64_t a, uint64_t b, int add) { \
    asm volatile( \
        HEDDLE_WGMMA("m64n" #n "k16.f32.bf16.bf16", registers, add_, "%" #a_ ", %" #b_ ", p, 1, 1, %" #ta ", %" #tb) \
        : HEDDLE_SUMS_##registers(d) \
        : "l"(a), "l"(b), "r"(add), "n"(a_transposed ? 1 : 0), "n"(b_transposed ? 1 : 0)); \
  }
HEDDLE_WGMMA_BF16(64, 32, 32, 33, 34, 35, 36)
HEDDLE_WGMMA_BF16(128, 64, 64, 65, 66, 67, 68)
HEDDLE_WGMMA_BF16(256, 128, 128, 129, 130, 131, 132)

// Defines d (64, n) (+)= a b, with a in registers and b in shared memory.
#define HEDDLE_WGMMA_LEFT(n, registers, a0, a1, a2, a3, b_, add_, tb) \
  template <bool b_transposed> \
  __device__ inline void wgmma_left(float(&d)[registers], const uint32_t(&a)[4], uint64_t b, int add) { \
    asm volatile(HEDDLE_WGMMA("m64n" #n "k16.f32.bf16.bf16", registers, add_, \
        "{%" #a0 ", %" #a1 ", %" #a2 ", %" #a3 "}, %" #b_ ", p, 1, 1, %" #tb) \
        : HEDDLE_SUMS_##registers(d) \
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(add), "n"(b_transposed ? 1 : 0)); \
  }
HEDDLE_WGMMA_LEFT(64, 32, 32, 33, 34, 35, 36, 37, 38)
HEDDLE_WGMMA_LEFT(96, 48, 48, 49, 50, 51, 52, 53, 54)
HEDDLE_WGMMA_LEFT(128, 64, 64, 65, 66, 67, 68, 69, 70)

// d (64, 128) (+)= a b, with both operands in shared memory as K-major e4m3.
__device__ inline void wgmma_e4m3(float (&d)[64], uint64_t a, uint64_t b, int add) {
  asm volatile(HEDDLE_WGMMA("m64n128k32.f32.e4m3.e4m3", 64, 66, "%64, %65, p, 1, 1")
      : HEDDLE_SUMS_64(d)
      : "l"(a), "l"(b), "r"(add));
}

#undef HEDDLE_WGMMA_LEFT
#undef HEDDLE_WGMMA_BF16
#undef HEDDLE_WGMMA
#undef HEDDLE_SUMS_8
#undef HEDDLE_SUMS_16
#undef HEDDLE_SUMS_32
#undef HEDDLE_SUMS_48
#undef HEDDLE_SUMS_64
#undef HEDDLE_SUMS_128
#undef HEDDLE_NAMES_32
#undef HEDDLE_NAMES_48
#undef HEDDLE_NAMES_64
#undef HEDDLE_NAMES_128

}  // namespace ptx
}  // namespace cuda
}  // namespace heddle
