// Fibers: stacks that take turns on one thread. Each CUDA thread is a fiber. A switch takes a few instructions. POSIX's
// swapcontext would also make system calls, because it saves the signal mask.
#pragma once
#include <cstddef>

namespace heddle {
namespace emulator {

class Fiber {
 public:
  Fiber();
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // Prepares the stack, so that the next switch to this fiber calls `entry`, which must never return.
  void start(void (*entry)());

  void* stack_pointer = nullptr;

 private:
  char* stack_;
  unsigned colour_;
};

constexpr size_t fiber_stack_bytes = 128 << 10;

// Saves the running context's stack pointer to *from and switches to `to`.
extern "C" __attribute__((visibility("hidden"))) void heddle_fiber_switch(void** from, void* to);

}  // namespace emulator
}  // namespace heddle
