// Launches kernels and declares shared memory, for nvcc and for the emulator, which compiles kernels as C++.
//
// A kernel file has, per op: the kernel with the shapes of its operands, a launcher that computes its arguments from a
// Node, and a RegisterKernel. The emulator enforces three rules. All threads of a block reach the same __syncthreads,
// so an early return before it must be uniform over the block. Shared memory is written before it is read. Copies are
// waited for.
#pragma once
#include "cuda/runtime/context.h"

// HEDDLE_UNROLL precedes loops whose index selects registers. Without unrolling, an array that the index selects from
// would be in local memory. HEDDLE_ROLLED precedes loops that must not be unrolled, to save registers or code size.
#if defined(__CUDACC__)
#define HEDDLE_EMULATED 0
#define HEDDLE_UNROLL _Pragma("unroll")
#define HEDDLE_ROLLED _Pragma("unroll 1")
#define HEDDLE_SHARED(type, name, extent) __shared__ type name extent
#define HEDDLE_DYNAMIC_SHARED(type, name) \
  extern __shared__ __align__(128) unsigned char heddle_dynamic_shared[]; \
  type* name = reinterpret_cast<type*>(heddle_dynamic_shared)
#else
#define HEDDLE_EMULATED 1
#define HEDDLE_UNROLL
#define HEDDLE_ROLLED
#define HEDDLE_SHARED(type, name, extent) \
  static char name##_key; \
  using name##_type = type extent; \
  name##_type& name = *static_cast<name##_type*>( \
      ::heddle::emulator::shared(&name##_key, sizeof(name##_type), alignof(type) > 16 ? alignof(type) : 16))
#define HEDDLE_DYNAMIC_SHARED(type, name) type* name = static_cast<type*>(::heddle::emulator::dynamic_shared())
#endif

namespace heddle {
namespace cuda {

// The maximum of dynamic shared memory without an opt-in by cudaFuncSetAttribute. The limit of 48 KB includes static
// shared memory, for which 2 KB are left.
constexpr size_t default_shared_bytes = (48 << 10) - 2048;

struct Grid {
  dim3 blocks, threads;
  size_t shared = 0;  // bytes of dynamic shared memory
};

// Prevents template argument deduction, so that arguments convert to the kernel's parameters.
template <class T> struct Same {
  using type = T;
};

// Launches a kernel on the context's stream. Does nothing if the grid is empty.
template <class... P>
void launch(const Context& context, const char* name, const Grid& g, void (*kernel)(P...),
    typename Same<P>::type... arguments) {
  if (g.blocks.x == 0 || g.blocks.y == 0 || g.blocks.z == 0) return;
  make_current(context);
  if (g.shared > default_shared_bytes) allow_shared(context, reinterpret_cast<const void*>(kernel), g.shared, name);
#if HEDDLE_EMULATED
  emulator::check_shared(reinterpret_cast<const void*>(kernel), g.shared, name);
  emulator::enqueue(stream_of(context),
      [=] { emulator::run_grid(name, g.blocks, g.threads, g.shared, [&] { kernel(arguments...); }); });
#else
  kernel<<<g.blocks, g.threads, g.shared, stream_of(context)>>>(arguments...);
  check_cuda(cudaGetLastError(), name);
#endif
}

inline unsigned blocks_for(int64_t items, int64_t per_block) {
  return static_cast<unsigned>((items + per_block - 1) / per_block);
}

struct RegisterKernel {
  RegisterKernel(const char* op, const char* name, bool (*supports)(const Node&), void (*run)(const Node&, Context&),
      size_t (*scratch)(const Node&, int) = nullptr, int priority = 0) {
    Registry::add(KernelDef{op, name, priority, supports, scratch, run, DeviceKind::cuda});
  }
};

}  // namespace cuda
}  // namespace heddle
