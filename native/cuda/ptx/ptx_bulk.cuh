// Bulk writes from shared to global memory by the copy engine of sm_90, and words in global memory with which blocks
// report their progress. As in ptx.cuh, each instruction has its meaning in C++.
#pragma once
#include "cuda/ptx/ptx_sm90.cuh"

namespace heddle {
namespace cuda {
namespace ptx {

#if HEDDLE_EMULATED
#define HEDDLE_LINE , int line = __builtin_LINE()
#define HEDDLE_ONLY_LINE int line = __builtin_LINE()
#else
#define HEDDLE_LINE
#define HEDDLE_ONLY_LINE
#endif

// cp.async.bulk (9.7.9.25.4.1) from shared to global memory: bytes that lie together, at multiples of 16 and as many as
// a multiple of 16. Threads that wrote them must have had a fence_async. They are there after commit_writes and
// wait_writes of this thread.
__device__ inline void store_bytes(void* to, const void* from, unsigned bytes HEDDLE_LINE) {
#if HEDDLE_EMULATED
  emulator::write_bytes(to, from, bytes, false, line);
#elif HEDDLE_SM90A
  asm volatile(
      "cp.async.bulk.global.shared::cta.bulk_group [%0], [%1], %2;" ::"l"(to), "r"(shared_address(from)), "r"(bytes)
      : "memory");
#endif
}
// cp.reduce.async.bulk .add.f32 (9.7.9.25.4.2): the same, added to the f32 that are there; each of them at once, in no
// order among others'. Rounded to nearest; what is subnormal, before or after, becomes zero.
__device__ inline void add_bytes(void* to, const void* from, unsigned bytes HEDDLE_LINE) {
#if HEDDLE_EMULATED
  emulator::write_bytes(to, from, bytes, true, line);
#elif HEDDLE_SM90A
  asm volatile("cp.reduce.async.bulk.global.shared::cta.bulk_group.add.f32 [%0], [%1], %2;" ::"l"(to),
      "r"(shared_address(from)), "r"(bytes)
      : "memory");
#endif
}
// cp.async.bulk.commit_group (9.7.9.25.4.4.1)
__device__ inline void commit_writes(HEDDLE_ONLY_LINE) {
#if HEDDLE_EMULATED
  emulator::commit_writes(line);
#elif HEDDLE_SM90A
  asm volatile("cp.async.bulk.commit_group;" ::: "memory");
#endif
}
// cp.async.bulk.wait_group.read (9.7.9.25.4.4.2): until the sources of all groups have been read; and wait_group: until
// they are written.
__device__ inline void wait_writes_read(HEDDLE_ONLY_LINE) {
#if HEDDLE_EMULATED
  emulator::wait_writes(0, true, line);
#elif HEDDLE_SM90A
  asm volatile("cp.async.bulk.wait_group.read 0;" ::: "memory");
#endif
}
__device__ inline void wait_writes(HEDDLE_ONLY_LINE) {
#if HEDDLE_EMULATED
  emulator::wait_writes(0, false, line);
#elif HEDDLE_SM90A
  asm volatile("cp.async.bulk.wait_group 0;" ::: "memory");
#endif
}

// ld.acquire.gpu (9.7.9.8) until the word is `value`: what the block that released it did before is then seen by this
// thread. That block must have begun before this one, or nothing says that it ever runs.
__device__ inline void wait_for_word(const int32_t* word, int32_t value HEDDLE_LINE) {
#if HEDDLE_EMULATED
  emulator::wait_for_word(word, value, line);
#else
  int32_t now;
  do asm volatile("ld.acquire.gpu.global.s32 %0, [%1];" : "=r"(now) : "l"(word) : "memory");
  while (now != value);
#endif
}
// st.release.gpu (9.7.9.12)
__device__ inline void release_word(int32_t* word, int32_t value HEDDLE_LINE) {
#if HEDDLE_EMULATED
  emulator::release_word(word, value, line);
#else
  asm volatile("st.release.gpu.global.s32 [%0], %1;" ::"l"(word), "r"(value) : "memory");
#endif
}

// atom.add (9.7.13.5): the numbers 0, 1, ... of a word that began with 0, each given once.
__device__ inline int32_t take_number(int32_t* word) {
#if HEDDLE_EMULATED
  return static_cast<int32_t>(emulator::atomic_add(reinterpret_cast<uint32_t*>(word), 1u));
#else
  return atomicAdd(word, 1);
#endif
}

#undef HEDDLE_LINE
#undef HEDDLE_ONLY_LINE

}  // namespace ptx
}  // namespace cuda
}  // namespace heddle
