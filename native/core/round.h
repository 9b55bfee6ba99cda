// Division and rounding of whole numbers that are not negative, on the host and in CUDA kernels.
#pragma once

namespace heddle {

// These functions are always inlined, so that kernels of every instruction set may call them (cpu/simd/simd.h).
#if defined(__CUDACC__)
#define HEDDLE_ROUND __host__ __device__ __forceinline__ constexpr
#else
#define HEDDLE_ROUND [[gnu::always_inline]] inline constexpr
#endif

// Returns a / b, rounded up. The type is that of a / b.
template <class A, class B> HEDDLE_ROUND auto ceil_div(A a, B b) { return (a + b - 1) / b; }

// Returns `a`, rounded up to a multiple of `multiple`.
template <class A, class B> HEDDLE_ROUND auto round_up(A a, B multiple) { return ceil_div(a, multiple) * multiple; }

// Rounds bytes up to whole cache lines of 64 bytes.
template <class T> HEDDLE_ROUND T padded_to_line(T bytes) { return round_up(bytes, T{64}); }

#undef HEDDLE_ROUND

}  // namespace heddle
