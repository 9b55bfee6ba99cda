// Wrappers of the PTX instructions of sm_90a: mbarrier, bulk tensor copies (TMA) and wgmma. As in ptx.cuh, each has an
// equivalent for the emulator, in native/emulator/asynchronous.h. Section numbers are those of NVIDIA's
// "Parallel Thread Execution ISA". test/emulator compares the layouts with the figures of that manual.
//
// HEDDLE_SM90A: 1 if the current target is sm_90a. On other targets, the kernels that need these instructions are
// empty.
//
// In builds for the emulator, its cuda_runtime.h takes the place of CUDA's. That header includes asynchronous.h, so
// native/cuda includes no file of the emulator.
#pragma once
#include "cuda/ptx/ptx.cuh"

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ == 900 && !defined(__CUDA_ARCH_FEAT_SM90_ALL)
#error "compile for sm_90a, because the host chooses its kernels on every device of compute capability 9.0"
#endif
#if HEDDLE_EMULATED || defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define HEDDLE_SM90A 1
#else
#define HEDDLE_SM90A 0
#endif
#if !HEDDLE_EMULATED && HEDDLE_SM90A
#include "cuda/ptx/ptx_wgmma.cuh"
#endif

namespace heddle {
namespace cuda {
namespace ptx {

// In the emulator, each wrapper also takes the caller's line, for its error messages.
#if HEDDLE_EMULATED
#define HEDDLE_LINE , int line = __builtin_LINE()
#define HEDDLE_ONLY_LINE int line = __builtin_LINE()
inline uintptr_t shared_address(const void* data) { return emulator::shared_address(data); }
#else
#define HEDDLE_LINE
#define HEDDLE_ONLY_LINE
__device__ inline unsigned shared_address(const void* data) {
  return static_cast<unsigned>(__cvta_generic_to_shared(data));
}
#endif

// mbarrier.init (9.7.13.15.9): initializes a barrier. Each phase completes after `count` arrivals, once the bytes that
// arrive_expecting announced have been copied.
__device__ inline void init_barrier(uint64_t* barrier, unsigned count HEDDLE_LINE) {
#if HEDDLE_EMULATED
  emulator::init_barrier(barrier, count, line);
#else
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(count) : "memory");
#endif
}

// fence.proxy.async.shared::cta (9.7.13.4): makes this thread's earlier writes to shared memory, including mbarrier
// initialization, visible to subsequent bulk copies and wgmma.
__device__ inline void fence_async() {
#if HEDDLE_EMULATED
  emulator::fence_async();
#else
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#endif
}
// fence.proxy.async: like fence_async, for global memory too. It is slow, because it waits for all of the thread's
// accesses. Use it only between wait_for_word or release_word and the bulk writes that the word orders.
__device__ inline void fence_async_global() {
#if HEDDLE_EMULATED
  emulator::fence_async();
#else
  asm volatile("fence.proxy.async;" ::: "memory");
#endif
}

// mbarrier.arrive (9.7.13.15.13): arrives at the barrier, with release semantics.
__device__ inline void arrive(uint64_t* barrier HEDDLE_LINE) {
#if HEDDLE_EMULATED
  emulator::arrive(barrier, 0, line);
#else
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier)) : "memory");
#endif
}
// mbarrier.arrive.expect_tx: adds `bytes` to the bytes that the current phase waits for, then arrives.
__device__ inline void arrive_expecting(uint64_t* barrier, unsigned bytes HEDDLE_LINE) {
#if HEDDLE_EMULATED
  emulator::arrive(barrier, bytes, line);
#else
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)), "r"(bytes)
      : "memory");
#endif
}

// Repeats mbarrier.try_wait.parity (9.7.13.15.16) until the phase with that parity is complete. `parity` selects the
// current phase or the one before it: phases alternate between 0 and 1, beginning with 0. The wait for parity 1 of a
// new barrier therefore returns at once.
__device__ inline void wait_barrier(uint64_t* barrier, unsigned parity HEDDLE_LINE) {
#if HEDDLE_EMULATED
  emulator::wait_barrier(barrier, parity, line);
#else
  asm volatile(
      "{\n.reg .pred done;\n"
      "again:\n"
      "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
      "@done bra over;\n"  // not bra.uni, because lanes of a warp may see the completion at different times
      "bra again;\n"
      "over:\n}\n" ::"r"(shared_address(barrier)),
      "r"(parity)
      : "memory");
#endif
}

// bar.sync (9.7.13.1): arrives at barrier 1 to 15 of the block, and waits until `threads` threads have arrived, counted
// in whole warps. The waiting threads then see all that the arriving threads wrote before.
__device__ inline void sync_named(int barrier, int threads HEDDLE_LINE) {
#if HEDDLE_EMULATED
  emulator::named_barrier(barrier, threads, true, line);
#else
  asm volatile("bar.sync %0, %1;" ::"r"(barrier), "r"(threads) : "memory");
#endif
}
// bar.arrive: arrives at the barrier without waiting.
__device__ inline void arrive_named(int barrier, int threads HEDDLE_LINE) {
#if HEDDLE_EMULATED
  emulator::named_barrier(barrier, threads, false, line);
#else
  asm volatile("bar.arrive %0, %1;" ::"r"(barrier), "r"(threads) : "memory");
#endif
}

// cp.async.bulk (9.7.9.25.4.1): starts a copy from global to shared memory. Both addresses and `bytes` must be
// multiples of 16. The copied bytes count toward the barrier's current phase.
__device__ inline void copy_bytes(void* to, const void* from, unsigned bytes, uint64_t* barrier HEDDLE_LINE) {
#if HEDDLE_EMULATED
  emulator::copy_bytes(to, from, bytes, barrier, line);
#elif HEDDLE_SM90A
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(
                   shared_address(to)),
      "l"(from), "r"(bytes), "r"(shared_address(barrier))
      : "memory");
#endif
}

// cp.async.bulk.tensor.2d (9.7.9.25.5.2): starts a copy of the box at (row, column) of the tensor map's matrix to
// shared memory. Elements outside the matrix become zeros. All bytes of the box count toward the barrier's current
// phase.
__device__ inline void copy_box(void* to, const void* map, int column, int row, uint64_t* barrier HEDDLE_LINE) {
#if HEDDLE_EMULATED
  const int32_t at[2] = {column, row};
  emulator::copy_box(to, map, 2, at, barrier, line);
#elif HEDDLE_SM90A
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4}], [%2];" ::"r"(
          shared_address(to)),
      "l"(map), "r"(shared_address(barrier)), "r"(column), "r"(row)
      : "memory");
#endif
}
// cp.async.bulk.tensor.4d: the same for a tensor map of four dimensions. The innermost coordinate comes first.
__device__ inline void copy_box(void* to, const void* map, int a, int b, int c, int d, uint64_t* barrier HEDDLE_LINE) {
#if HEDDLE_EMULATED
  const int32_t at[4] = {a, b, c, d};
  emulator::copy_box(to, map, 4, at, barrier, line);
#elif HEDDLE_SM90A
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, %6}], [%2];" ::
          "r"(shared_address(to)),
      "l"(map), "r"(shared_address(barrier)), "r"(a), "r"(b), "r"(c), "r"(d)
      : "memory");
#endif
}
// prefetch.tensormap (9.7.9.10): brings a tensor map into the cache.
__device__ inline void prefetch_map(const void* map) {
#if !HEDDLE_EMULATED && HEDDLE_SM90A
  asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
#else
  static_cast<void>(map);
#endif
}

// Whether the registers per thread, added up over all warpgroups, are within the total of a block of `threads` threads.
// nvcc compiles the kernels for 65536 / threads registers per thread, rounded down to a multiple of 8. For 384 threads
// that is 168, so the three warpgroups share 504.
template <int threads> constexpr bool registers_fit(int of_all_warpgroups) {
  return of_all_warpgroups * 128 <= 65536 / threads / 8 * 8 * threads;
}
// setmaxnreg.inc (9.7.20.5): raises the number of registers per thread of a warpgroup. Waits until other warps have
// released enough registers. Waits forever if registers_fit is false.
template <int registers> __device__ inline void take_registers(HEDDLE_ONLY_LINE) {
  static_assert(
      registers % 8 == 0 && registers >= 24 && registers <= 256, "setmaxnreg takes multiples of 8 from 24 to 256");
#if HEDDLE_EMULATED
  emulator::set_registers(registers, true, line);
#elif HEDDLE_SM90A
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(registers));
#endif
}
// setmaxnreg.dec: lowers the number of registers per thread of a warpgroup, and releases the rest.
template <int registers> __device__ inline void give_registers(HEDDLE_ONLY_LINE) {
  static_assert(
      registers % 8 == 0 && registers >= 24 && registers <= 256, "setmaxnreg takes multiples of 8 from 24 to 256");
#if HEDDLE_EMULATED
  emulator::set_registers(registers, false, line);
#elif HEDDLE_SM90A
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(registers));
#endif
}

// The leading dimension byte offset in the descriptor of a K-major tile. The hardware ignores it for swizzled K-major
// tiles. CUTLASS writes the same value.
constexpr unsigned k_major = 16;
// Returns the matrix descriptor (9.7.15.5.1.2.2) of a tile with the 128-byte swizzle, which is the 1 in bits 62 and 63.
// `leading` and `stride` are the leading and stride dimension byte offsets. The tile is aligned to 1024 bytes. `tile`
// may point into its first 1024 bytes, to begin at a later k. The tile consists of lines of 128 bytes. Piece p (16
// bytes) of line r is stored as piece p ^ (r % 8) of that line.
//   K-major: a line is 64 elements along k of one row. `stride`: from 8 rows to the next 8. `leading`: k_major.
//   MN-major: a line is 64 rows at one k. `stride`: from 8 k to the next 8. `leading`: from 64 rows to the next 64.
__device__ inline uint64_t describe_tile(const void* tile, unsigned leading, unsigned stride) {
  const uint64_t address = shared_address(tile);
  return (address & 0x3ffff) >> 4 | static_cast<uint64_t>(leading >> 4) << 16 |
         static_cast<uint64_t>(stride >> 4) << 32 | uint64_t{1} << 62;
}

// wgmma.fence (9.7.15.7.1): orders register accesses before products. Needed before the first product, and before a
// product whose registers (accumulators, or a in registers) other instructions have accessed.
__device__ inline void fence_products(HEDDLE_ONLY_LINE) {
#if HEDDLE_EMULATED
  emulator::warpgroup_fence(line);
#elif HEDDLE_SM90A
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#endif
}
// wgmma.commit_group (9.7.15.7.2): makes one wgmma-group of the products that are not in a group yet.
__device__ inline void commit_products(HEDDLE_ONLY_LINE) {
#if HEDDLE_EMULATED
  emulator::warpgroup_commit(line);
#elif HEDDLE_SM90A
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
#endif
}
// wgmma.wait_group (9.7.15.7.3): waits until at most `pending` of the most recent groups are incomplete.
template <int pending> __device__ inline void wait_products(HEDDLE_ONLY_LINE) {
#if HEDDLE_EMULATED
  emulator::warpgroup_wait(pending, line);
#elif HEDDLE_SM90A
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(pending) : "memory");
#endif
}

// Prevents the compiler from moving reads of v to before the preceding wait_products.
__device__ inline void pin(float& v) {
#if HEDDLE_EMULATED
  static_cast<void>(v);
#else
  asm volatile("" : "+f"(v)::"memory");
#endif
}
template <int registers> __device__ inline void pin_all(float (&v)[registers]) {
  HEDDLE_UNROLL
  for (int r = 0; r < registers; ++r) pin(v[r]);
}

// wgmma.mma_async.sync.aligned.m64nNk16.f32.bf16.bf16 (9.7.15.5.2): starts d (64, N) = a (64, 16) b (16, N), or += if
// `add` is set. a and b are matrix descriptors, and N is 64, 128 or 256. `transposed`: the operand is MN-major. d is
// complete after commit_products and wait_products. Warp w of the warpgroup holds rows 16 w to 16 w + 15 of d. Register
// r of lane i holds the element at row i / 4 + 8 (r / 2 % 2) of these, and column 8 (r / 4) + 2 (i % 4) + r % 2.
template <bool a_transposed, bool b_transposed, int registers>
__device__ inline void multiply_tiles(float (&d)[registers], uint64_t a, uint64_t b, bool add HEDDLE_LINE) {
  static_assert(registers == 32 || registers == 64 || registers == 128, "N is twice the number of registers");
#if HEDDLE_EMULATED
  emulator::warpgroup_product({d, a, b, 2 * registers, a_transposed, b_transposed, add}, line);
#elif HEDDLE_SM90A
  wgmma_bf16<a_transposed, b_transposed>(d, a, b, add);
#endif
}

// wgmma.mma_async.sync.aligned.m64n128k32.f32.e4m3.e4m3: like multiply_tiles, for d (64, 128) (+)= a (64, 32) b (32,
// 128) with K-major operands. Hopper accumulates the products of one instruction with fewer bits than f32 (14 according
// to "DeepSeek-V3 Technical Report" 2024, 3.3.2). The emulator uses f32.
__device__ inline void multiply_e4m3_tiles(float (&d)[64], uint64_t a, uint64_t b, bool add HEDDLE_LINE) {
#if HEDDLE_EMULATED
  emulator::warpgroup_product({d, a, b, 128, false, false, add, nullptr, true}, line);
#elif HEDDLE_SM90A
  wgmma_e4m3(d, a, b, add);
#endif
}

// Like multiply_tiles, with a in registers, which must not change until wait_products. N is 64, 96 or 128. A register
// holds two elements of a: register r of lane i has row i / 4 + 8 (r % 2) of the warp's 16 rows, and k and k + 1 for
// k = 2 (i % 4) + 8 (r / 2).
template <bool b_transposed, int registers>
__device__ inline void multiply_registers(
    float (&d)[registers], const uint32_t (&a)[4], uint64_t b, bool add HEDDLE_LINE) {
  static_assert(registers == 32 || registers == 48 || registers == 64, "N is twice the number of registers");
#if HEDDLE_EMULATED
  emulator::warpgroup_product({d, 0, b, 2 * registers, false, b_transposed, add, a}, line);
#elif HEDDLE_SM90A
  wgmma_left<b_transposed>(d, a, b, add);
#endif
}

#undef HEDDLE_LINE
#undef HEDDLE_ONLY_LINE

}  // namespace ptx
}  // namespace cuda
}  // namespace heddle
