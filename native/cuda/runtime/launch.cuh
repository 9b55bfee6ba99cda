// Launches of kernels and declarations of shared memory, for nvcc and for the emulator, which compiles kernels as C++.
//
// For each op, a kernel file has a kernel, a launcher that computes the kernel's arguments from a Node, and a
// RegisterKernel. A comment gives the shapes of the operands. The emulator enforces four rules:
// - A kernel with a PreviousKernel waits for it first.
// - All threads of a block reach the same __syncthreads. An early return before it must be uniform over the block.
// - Shared memory is written before it is read.
// - Asynchronous copies are complete before their data is used.
#pragma once
#include "core/round.h"
#include "cuda/runtime/context.h"

// HEDDLE_UNROLL precedes loops that index an array of registers. Without unrolling, nvcc would put that array into
// local memory. HEDDLE_UNROLL_BY unrolls a loop `count` times. HEDDLE_ROLLED precedes loops that must not be unrolled,
// to save registers or code size. HEDDLE_SHARED declares an array in static shared memory, HEDDLE_DYNAMIC_SHARED a
// pointer to dynamic shared memory.
#if defined(__CUDACC__)
#define HEDDLE_EMULATED 0
#define HEDDLE_UNROLL _Pragma("unroll")
#define HEDDLE_PRAGMA(text) _Pragma(#text)
#define HEDDLE_UNROLL_BY(count) HEDDLE_PRAGMA(unroll(count))
#define HEDDLE_ROLLED _Pragma("unroll 1")
#define HEDDLE_SHARED(type, name, extent) __shared__ type name extent
#define HEDDLE_DYNAMIC_SHARED(type, name) \
  extern __shared__ __align__(128) unsigned char heddle_dynamic_shared[]; \
  type* name = reinterpret_cast<type*>(heddle_dynamic_shared)
#else
#define HEDDLE_EMULATED 1
#define HEDDLE_UNROLL
#define HEDDLE_UNROLL_BY(count)
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

// The most dynamic shared memory for which `launch` does not raise the kernel's limit (see allow_shared). CUDA's
// default limit of 48 KB includes static shared memory, for which 2 KB are reserved here.
constexpr size_t default_shared_bytes = (48 << 10) - 2048;

struct Grid {
  dim3 blocks, threads;
  size_t shared = 0;     // bytes of dynamic shared memory
  unsigned cluster = 1;  // blocks of a cluster, along x; more than 1 needs compute capability 9.0
};

// The kernel before this one in its stream. On devices of compute capability 9.0 and later, a kernel with this as its
// first parameter may start before that kernel has ended. The CUDA programming guide calls this "Programmatic Dependent
// Launch". `launch` recognizes such a kernel by its type.
//
// Every thread of the kernel calls wait() before it accesses global memory, and before it ends. A kernel that has ended
// has therefore waited for the kernel before it. So wait() covers all earlier work of the stream. The emulator and the
// simulator report threads that break the rule.
struct PreviousKernel {
  // griddepcontrol.wait: waits until the kernel before this one has ended and its writes are visible.
  // griddepcontrol.launch_dependents: the kernel after this one may start when all blocks have come here. Because this
  // instruction follows the wait, at most one kernel waits while another one computes.
  __device__ void wait() const {
#if HEDDLE_EMULATED
    emulator::wait_for_previous();
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
    asm volatile("griddepcontrol.launch_dependents;");
#endif
  }
};

// Launches a kernel on the context's stream. `arguments` are the addresses of its arguments. `waits`: whether it waits
// for the kernel before it. Throws as check_cuda does.
void launch_kernel(
    const Context& context, const char* name, const Grid& g, const void* kernel, void** arguments, bool waits);

// Same<T>::type is T in a context that takes no part in template argument deduction. The arguments of `launch` then
// convert to the types of the kernel's parameters.
template <class T> struct Same {
  using type = T;
};

template <class... P>
void launch_with(const Context& context, const char* name, const Grid& g, bool waits, void (*kernel)(P...),
    typename Same<P>::type... arguments) {
  if (g.blocks.x == 0 || g.blocks.y == 0 || g.blocks.z == 0) return;
  make_current(context);
  const void* code = reinterpret_cast<const void*>(kernel);
  if (g.shared > default_shared_bytes) allow_shared(context, code, g.shared, name);
#if HEDDLE_EMULATED
  check_cuda(emulator::failure_of("cudaLaunchKernel"), name);
  emulator::check_shared(code, g.shared, name);
  emulator::enqueue(stream_of(context), [=] {
    emulator::run_grid(name, g.blocks, g.threads, g.shared, [&] { kernel(arguments...); }, waits, g.cluster);
  });
#else
  void* addresses[] = {&arguments..., nullptr};
  launch_kernel(context, name, g, code, addresses, waits);
#endif
}

// Launches a kernel on the context's stream. Does nothing if the grid is empty. The second form takes the arguments
// after `PreviousKernel`.
template <class... P>
void launch(const Context& context, const char* name, const Grid& g, void (*kernel)(P...),
    typename Same<P>::type... arguments) {
  launch_with<P...>(context, name, g, false, kernel, arguments...);
}
template <class... P>
void launch(const Context& context, const char* name, const Grid& g, void (*kernel)(PreviousKernel, P...),
    typename Same<P>::type... arguments) {
  launch_with<PreviousKernel, P...>(context, name, g, true, kernel, PreviousKernel{}, arguments...);
}

// Returns items / per_block, rounded up.
inline unsigned blocks_for(int64_t items, int64_t per_block) {
  return static_cast<unsigned>(ceil_div(items, per_block));
}

// Registers a CUDA kernel of an op. KernelDef (native/ops/op.h) documents the parameters.
struct RegisterKernel {
  RegisterKernel(const char* op, const char* name, bool (*supports)(const Node&), void (*run)(const Node&, Context&),
      size_t (*scratch)(const Node&, int) = nullptr, int priority = 0) {
    Registry::add(KernelDef{op, name, priority, supports, scratch, run, DeviceKind::cuda});
  }
};

}  // namespace cuda
}  // namespace heddle
