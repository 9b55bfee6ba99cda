// Fibers: stacks that take turns on one thread. One fiber is one CUDA thread. A switch takes a few instructions.
// (ucontext saves the signal mask, which costs two system calls per switch.)
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

  void start(void (*entry)());  // prepares the stack; the next switch to it runs entry, which must never return

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
