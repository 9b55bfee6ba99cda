// What kernels of several products share: their loops as one, and numbers of any type.
#pragma once
#include "cpu/kernels.h"
#include "cpu/simd.h"

namespace heddle {
namespace HEDDLE_ISA {

using cpu::Gemm;

// The tasks of several loops as those of one: nobody waits between them. fn(loop, task, tasks of the loop, thread)
template <class Tasks, class F> void run_joined(Pool& pool, int count, const Tasks& tasks_of, const F& fn) {
  constexpr int most = 8;  // loops at once
  for (int first = 0; first < count; first += most) {
    const int loops = min_of(most, count - first);
    int64_t begin[most + 1] = {0};
    for (int i = 0; i < loops; ++i) begin[i + 1] = begin[i] + tasks_of(first + i);
    pool.run(begin[loops], [&](int64_t task, int thread) {
      int i = 0;
      while (task >= begin[i + 1]) ++i;
      fn(first + i, task - begin[i], begin[i + 1] - begin[i], thread);
    });
  }
}

inline float load_any(const void* p, DType type, int64_t i) {
  return type == DType::f32    ? static_cast<const float*>(p)[i]
         : type == DType::bf16 ? load1(static_cast<const bf16*>(p) + i)
                               : load1(static_cast<const f16*>(p) + i);
}

}  // namespace HEDDLE_ISA
}  // namespace heddle
