// Devices and shapes for tests of the choices in native/cuda/runtime.
#pragma once
#include <cstdio>
#include <string>

#include "cuda/runtime/tuning.h"

namespace heddle {
namespace cuda {

inline int failures = 0;

inline std::string text(const GemmChoice& c) {
  static const char* const names[] = {"few_rows", "multiply_add", "tensor", "tensor_tf32", "warpgroup"};
  return std::string(names[static_cast<int>(c.kernel)]) + " " + std::to_string(c.tile_m) + "x" +
         std::to_string(c.tile_n) + ", " + std::to_string(c.stages) + " stages, " + std::to_string(c.splits) + " x " +
         std::to_string(c.part);
}

inline void expect(const char* what, const GemmChoice& got, const GemmChoice& want) {
  if (got == want) return;
  std::printf("FAILED %s: expected %s, got %s\n", what, text(want).c_str(), text(got).c_str());
  ++failures;
}
inline void expect(const char* what, bool ok) {
  if (ok) return;
  std::printf("FAILED %s\n", what);
  ++failures;
}

inline const DeviceProperties a100{80, 108, 163 << 10, false}, rtx3090{86, 82, 99 << 10, false},
    h100{90, 132, 227 << 10, true}, plain_h100{90, 132, 227 << 10, false}, rtx5090{120, 170, 99 << 10, false},
    b200{100, 148, 227 << 10, false};

// Returns the shape of x (m, k) W (n, k)^T.
inline GemmShape product(int64_t m, int64_t n, int64_t k, DType type = DType::bf16) {
  GemmShape g;
  g.m = m, g.n = n, g.k = k;
  g.a = g.b = g.c = type;
  g.b_transposed = g.aligned = true;
  g.workspace_bytes = gemm_workspace(m, n, k);
  return g;
}

}  // namespace cuda
}  // namespace heddle
