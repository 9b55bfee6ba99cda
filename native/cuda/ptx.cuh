// Every PTX instruction that the kernels use, with its meaning in C++ beside it. Section numbers and figures are those of
// NVIDIA's "Parallel Thread Execution ISA"; test/emulator holds each fragment layout against its tables.
#pragma once
#include "cuda/launch.cuh"
#include "runtime/tensor.h"

namespace heddle {
namespace cuda {
namespace ptx {

// cvt.f32.f16: exact.
__device__ inline float half_to_float(uint16_t bits) {
#if HEDDLE_EMULATED
  return to_float(f16{bits});
#else
  float f;
  asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(bits));
  return f;
#endif
}

// cvt.rn.f16.f32: to nearest even.
__device__ inline uint16_t float_to_half(float f) {
#if HEDDLE_EMULATED
  return to_f16(f).bits;
#else
  uint16_t bits;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(f));
  return bits;
#endif
}

}  // namespace ptx
}  // namespace cuda
}  // namespace heddle
