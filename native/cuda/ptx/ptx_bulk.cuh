// Bulk copies from shared to global memory (sm_90), and words in global memory with which blocks signal their progress.
// As in ptx.cuh, each instruction has an equivalent in C++ for the emulator.
#pragma once
#include "cuda/ptx/ptx_sm90.cuh"

namespace heddle {
namespace cuda {
namespace ptx {

// In the emulator, each wrapper also takes the caller's line, for its error messages.
#if HEDDLE_EMULATED
#define HEDDLE_LINE , int line = __builtin_LINE()
#define HEDDLE_ONLY_LINE int line = __builtin_LINE()
#else
#define HEDDLE_LINE
#define HEDDLE_ONLY_LINE
#endif

// cp.async.bulk (9.7.9.25.4.1): starts a copy from shared to global memory. Both addresses and `bytes` must be
// multiples of 16. The threads that wrote the source must have called fence_async. The copy is complete after this
// thread has called commit_writes and wait_writes.
__device__ inline void store_bytes(void* to, const void* from, unsigned bytes HEDDLE_LINE) {
#if HEDDLE_EMULATED
  emulator::write_bytes(to, from, bytes, false, line);
#elif HEDDLE_SM90A
  asm volatile(
      "cp.async.bulk.global.shared::cta.bulk_group [%0], [%1], %2;" ::"l"(to), "r"(shared_address(from)), "r"(bytes)
      : "memory");
#endif
}
// cp.async.bulk.tensor.2d (9.7.9.25.5.2): like store_bytes, for a box of shared memory, which begins at (row, column)
// of the tensor map's matrix. The address of the source must be a multiple of 128. Elements outside the matrix are not
// written.
__device__ inline void store_box(const void* map, int column, int row, const void* from HEDDLE_LINE) {
#if HEDDLE_EMULATED
  const int32_t at[2] = {column, row};
  emulator::write_box(map, 2, at, from, line);
#elif HEDDLE_SM90A
  asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [%0, {%2, %3}], [%1];" ::"l"(map),
      "r"(shared_address(from)), "r"(column), "r"(row)
      : "memory");
#endif
}
// cp.reduce.async.bulk .add.f32 (9.7.9.25.4.2): like store_bytes, but adds f32 elements to those of the destination.
// Each addition is atomic, rounds to nearest, and flushes subnormal operands and results to zero. The order of
// additions is not defined.
__device__ inline void add_bytes(void* to, const void* from, unsigned bytes HEDDLE_LINE) {
#if HEDDLE_EMULATED
  emulator::write_bytes(to, from, bytes, true, line);
#elif HEDDLE_SM90A
  asm volatile("cp.reduce.async.bulk.global.shared::cta.bulk_group.add.f32 [%0], [%1], %2;" ::"l"(to),
      "r"(shared_address(from)), "r"(bytes)
      : "memory");
#endif
}
// cp.async.bulk.commit_group (9.7.9.25.4.4.1): makes one bulk async-group of this thread's store_bytes, store_box and
// add_bytes that are not in a group yet.
__device__ inline void commit_writes(HEDDLE_ONLY_LINE) {
#if HEDDLE_EMULATED
  emulator::commit_writes(line);
#elif HEDDLE_SM90A
  asm volatile("cp.async.bulk.commit_group;" ::: "memory");
#endif
}
// cp.async.bulk.wait_group.read (9.7.9.25.4.4.2): waits until all of this thread's groups have read their sources,
// which may then be overwritten.
__device__ inline void wait_writes_read(HEDDLE_ONLY_LINE) {
#if HEDDLE_EMULATED
  emulator::wait_writes(0, true, line);
#elif HEDDLE_SM90A
  asm volatile("cp.async.bulk.wait_group.read 0;" ::: "memory");
#endif
}
// cp.async.bulk.wait_group: waits until all of this thread's groups are complete.
__device__ inline void wait_writes(HEDDLE_ONLY_LINE) {
#if HEDDLE_EMULATED
  emulator::wait_writes(0, false, line);
#elif HEDDLE_SM90A
  asm volatile("cp.async.bulk.wait_group 0;" ::: "memory");
#endif
}

// Repeats ld.acquire.gpu (9.7.9.8) until the word is `value`. This thread then sees everything that the releasing block
// wrote before release_word. The releasing block must have started first: a block that has not started may never get a
// multiprocessor while this block waits.
__device__ inline void wait_for_word(const int32_t* word, int32_t value HEDDLE_LINE) {
#if HEDDLE_EMULATED
  emulator::wait_for_word(word, value, line);
#else
  int32_t now;
  do asm volatile("ld.acquire.gpu.global.s32 %0, [%1];" : "=r"(now) : "l"(word) : "memory");
  while (now != value);
#endif
}
// st.release.gpu (9.7.9.12): sets the word. Whoever reads it with wait_for_word also sees all that this thread wrote or
// observed before.
__device__ inline void release_word(int32_t* word, int32_t value HEDDLE_LINE) {
#if HEDDLE_EMULATED
  emulator::release_word(word, value, line);
#else
  asm volatile("st.release.gpu.global.s32 [%0], %1;" ::"l"(word), "r"(value) : "memory");
#endif
}

// atom.add (9.7.13.5): increments the word and returns its old value. If the word starts at 0, successive calls of all
// blocks return 0, 1, 2, …
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
