#include "emulator/fiber.h"

#include <sys/mman.h>

#include <cstdint>
#include <new>

namespace heddle {
namespace emulator {

// Saves only the callee-saved registers. The compiler saves all other registers around the call.
#if defined(__x86_64__)
asm(R"(
.text
.globl heddle_fiber_switch
.hidden heddle_fiber_switch
.type heddle_fiber_switch, @function
heddle_fiber_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size heddle_fiber_switch, .-heddle_fiber_switch
)");
#elif defined(__aarch64__)
asm(R"(
.text
.globl heddle_fiber_switch
.hidden heddle_fiber_switch
.type heddle_fiber_switch, %function
heddle_fiber_switch:
  sub sp, sp, #160
  stp x19, x20, [sp, #0]
  stp x21, x22, [sp, #16]
  stp x23, x24, [sp, #32]
  stp x25, x26, [sp, #48]
  stp x27, x28, [sp, #64]
  stp x29, x30, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x9, sp
  str x9, [x0]
  mov sp, x1
  ldp x19, x20, [sp, #0]
  ldp x21, x22, [sp, #16]
  ldp x23, x24, [sp, #32]
  ldp x25, x26, [sp, #48]
  ldp x27, x28, [sp, #64]
  ldp x29, x30, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  add sp, sp, #160
  ret
.size heddle_fiber_switch, .-heddle_fiber_switch
)");
#else
#error "the emulator's fiber switch is written for x86-64 and aarch64"
#endif

Fiber::Fiber() {
  static unsigned made = 0;  // fibers are made one grid at a time, so this needs no lock
  colour_ = made++ % 64;
  void* memory =
      mmap(nullptr, fiber_stack_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  stack_ = static_cast<char*>(memory);
  mprotect(stack_, 4096, PROT_NONE);  // a stack overflow faults instead of overwriting another fiber
}

Fiber::~Fiber() { munmap(stack_, fiber_stack_bytes); }

void Fiber::start(void (*entry)()) {
  // Cache colouring: the stacks start at different cache lines. Otherwise the stacks of all fibers would map to the
  // same cache sets and evict each other at every switch.
  uintptr_t* top = reinterpret_cast<uintptr_t*>(stack_ + fiber_stack_bytes - colour_ * 192);
#if defined(__x86_64__)
  *--top = 0;  // the return address of entry, which aligns the stack as a call does
  *--top = reinterpret_cast<uintptr_t>(entry);
  for (int i = 0; i < 6; ++i) *--top = 0;
#else
  top -= 20;
  for (int i = 0; i < 20; ++i) top[i] = 0;
  top[11] = reinterpret_cast<uintptr_t>(entry);  // x30
#endif
  stack_pointer = top;
}

}  // namespace emulator
}  // namespace heddle
