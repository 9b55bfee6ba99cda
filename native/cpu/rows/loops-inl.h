// Shared by kernels of several products: joined loops, and loads of any type.
#pragma once
#include "cpu/isa/kernels.h"
#include "cpu/simd/simd.h"

namespace heddle {
namespace HEDDLE_ISA {

using cpu::Gemm;

// Runs the tasks of several loops as one loop, without a wait between them. If the task count of each loop is a
// multiple of the thread count, each thread gets a part of every loop. Tasks of different loops may differ in length.
// Calls fn(loop, task, tasks of the loop, thread).
template <class Tasks, class F> void run_joined(Pool& pool, int count, const Tasks& tasks_of, const F& fn) {
  constexpr int most = 8;  // maximum loops at once
  for (int first = 0; first < count; first += most) {
    const int loops = min_of(most, count - first);
    int64_t begin[most + 1] = {0}, parts = pool.threads();
    for (int i = 0; i < loops; ++i) {
      begin[i + 1] = begin[i] + tasks_of(first + i);
      if (begin[i + 1] % pool.threads()) parts = 1;
    }
    const int64_t stretch = max_of<int64_t>(1, begin[loops] / parts);
    pool.run(begin[loops], [&](int64_t task, int thread) {
      // Each part has the same share of every loop. `at` is the task's index within its part times the number of parts,
      // so that it compares with `begin`.
      const int64_t part = task / stretch, at = task % stretch * parts;
      int i = 0;
      while (at >= begin[i + 1]) ++i;
      const int64_t tasks = begin[i + 1] - begin[i];
      fn(first + i, part * (tasks / parts) + (at - begin[i]) / parts, tasks, thread);
    });
  }
}

// Whether the thread that has run this task of a loop usually runs the next one too.
inline bool goes_on(int64_t task, int64_t tasks, int threads) {
  return task + 1 < tasks && (task + 1) * threads / tasks == task * threads / tasks;
}

inline float load_any(const void* p, DType type, int64_t i) {
  return type == DType::f32    ? static_cast<const float*>(p)[i]
         : type == DType::bf16 ? load1(static_cast<const bf16*>(p) + i)
                               : load1(static_cast<const f16*>(p) + i);
}

}  // namespace HEDDLE_ISA
}  // namespace heddle
