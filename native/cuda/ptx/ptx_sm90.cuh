// The instructions of sm_90a: barriers that count bytes (mbarrier), copies of boxes (TMA), products of warpgroups
// (wgmma). As in ptx.cuh, each has an equivalent for the emulator, which native/emulator/asynchronous.h declares.
// Section numbers are those of NVIDIA's "Parallel Thread Execution ISA". test/emulator compares the layouts with the
// figures of that manual.
//
// HEDDLE_SM90A: 1 if the current target is sm_90a. On all other targets the kernels are empty.
#pragma once
#include "cuda/ptx/ptx.cuh"
#if HEDDLE_EMULATED
#include "emulator/asynchronous.h"
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

// mbarrier.init (9.7.13.15.9). A phase completes when `count` arrivals have happened and all expected bytes have
// arrived.
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
// fence.proxy.async: like fence_async, and for global memory too. It waits for all of the thread's accesses. Use it
// only for words that order the bulk writes of several blocks.
__device__ inline void fence_async_global() {
#if HEDDLE_EMULATED
  emulator::fence_async();
#else
  asm volatile("fence.proxy.async;" ::: "memory");
#endif
}

// mbarrier.arrive (9.7.13.15.13), with release semantics.
__device__ inline void arrive(uint64_t* barrier HEDDLE_LINE) {
#if HEDDLE_EMULATED
  emulator::arrive(barrier, 0, line);
#else
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier)) : "memory");
#endif
}
// mbarrier.arrive.expect_tx: arrives, and makes the current phase wait for `bytes` more bytes.
__device__ inline void arrive_expecting(uint64_t* barrier, unsigned bytes HEDDLE_LINE) {
#if HEDDLE_EMULATED
  emulator::arrive(barrier, bytes, line);
#else
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)), "r"(bytes)
      : "memory");
#endif
}

// Repeats mbarrier.try_wait.parity (9.7.13.15.16) until the phase of that parity is complete. This can be the current
// phase or the previous one.
__device__ inline void wait_barrier(uint64_t* barrier, unsigned parity HEDDLE_LINE) {
#if HEDDLE_EMULATED
  emulator::wait_barrier(barrier, parity, line);
#else
  asm volatile(
      "{\n.reg .pred done;\n"
      "again:\n"
      "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
      "@done bra over;\n"  // not bra.uni: the lanes of a warp may see the completion at different times
      "bra again;\n"
      "over:\n}\n" ::"r"(shared_address(barrier)),
      "r"(parity)
      : "memory");
#endif
}

// bar.sync (9.7.13.1) on one of a block's barriers 1 to 15, for `threads` threads in whole warps. Waits until that many
// have arrived. Their earlier writes are then visible to all of them. arrive_named arrives without waiting.
__device__ inline void sync_named(int barrier, int threads HEDDLE_LINE) {
#if HEDDLE_EMULATED
  emulator::named_barrier(barrier, threads, true, line);
#else
  asm volatile("bar.sync %0, %1;" ::"r"(barrier), "r"(threads) : "memory");
#endif
}
__device__ inline void arrive_named(int barrier, int threads HEDDLE_LINE) {
#if HEDDLE_EMULATED
  emulator::named_barrier(barrier, threads, false, line);
#else
  asm volatile("bar.arrive %0, %1;" ::"r"(barrier), "r"(threads) : "memory");
#endif
}

// cp.async.bulk (9.7.9.25.4.1) from global to shared memory. Both addresses and `bytes` are multiples of 16. The
// barrier counts the bytes.
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

// cp.async.bulk.tensor.2d (9.7.9.25.5.2): copies the box of the map's matrix at (row, column) to shared memory.
// Elements outside the matrix become zeros. The barrier counts all bytes of the box.
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
// cp.async.bulk.tensor.4d: the same for a map of four dimensions. The innermost coordinate comes first.
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
// prefetch.tensormap (9.7.9.10)
__device__ inline void prefetch_map(const void* map) {
#if !HEDDLE_EMULATED && HEDDLE_SM90A
  asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
#else
  static_cast<void>(map);
#endif
}

// setmaxnreg (9.7.20.5) sets the number of registers of each thread of a warpgroup. A block keeps the registers that it
// was launched with: 65536 / threads per thread, rounded down to a multiple of 8. With 384 threads that is 168, so
// three warpgroups share 504. take_registers waits until other warps have released enough. If the sum exceeds that of
// the launch, it waits forever.
template <int threads> constexpr bool registers_fit(int of_all_warpgroups) {
  return of_all_warpgroups * 128 <= 65536 / threads / 8 * 8 * threads;
}
template <int registers> __device__ inline void take_registers(HEDDLE_ONLY_LINE) {
  static_assert(
      registers % 8 == 0 && registers >= 24 && registers <= 256, "setmaxnreg takes multiples of 8 from 24 to 256");
#if HEDDLE_EMULATED
  emulator::set_registers(registers, true, line);
#elif HEDDLE_SM90A
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(registers));
#endif
}
template <int registers> __device__ inline void give_registers(HEDDLE_ONLY_LINE) {
  static_assert(
      registers % 8 == 0 && registers >= 24 && registers <= 256, "setmaxnreg takes multiples of 8 from 24 to 256");
#if HEDDLE_EMULATED
  emulator::set_registers(registers, false, line);
#elif HEDDLE_SM90A
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(registers));
#endif
}

// The leading offset in the descriptor of a K-major tile. The hardware ignores it, and CUTLASS uses the same value.
constexpr unsigned k_major = 16;
// Returns the matrix descriptor (9.7.15.5.1.2.2) of a tile with the 128-byte swizzle. The tile is aligned to 1024
// bytes, and `tile` may point into its first group of lines. It has lines of 128 bytes, with bytes [16 p, 16 p + 16) of
// line r at p ^ (r % 8). K-major: a line is 64 elements along k of one row, `stride` is the distance in bytes between
// groups of 8 rows, and `leading` is k_major. MN-major: a line is 64 rows at one k, `stride` is the distance between
// groups of 8 along k, and `leading` that between groups of 64 rows.
__device__ inline uint64_t describe_tile(const void* tile, unsigned leading, unsigned stride) {
  const uint64_t address = shared_address(tile);
  return (address & 0x3ffff) >> 4 | static_cast<uint64_t>(leading >> 4) << 16 |
         static_cast<uint64_t>(stride >> 4) << 32 | uint64_t{1} << 62;
}

// wgmma.fence (9.7.15.7.1): needed before the first product, and after accesses to registers that a product reads or
// adds to.
__device__ inline void fence_products(HEDDLE_ONLY_LINE) {
#if HEDDLE_EMULATED
  emulator::warpgroup_fence(line);
#elif HEDDLE_SM90A
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#endif
}
// wgmma.commit_group (9.7.15.7.2): ends a group of products.
__device__ inline void commit_products(HEDDLE_ONLY_LINE) {
#if HEDDLE_EMULATED
  emulator::warpgroup_commit(line);
#elif HEDDLE_SM90A
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
#endif
}
// wgmma.wait_group (9.7.15.7.3): waits until at most `pending` of the committed groups are in flight.
template <int pending> __device__ inline void wait_products(HEDDLE_ONLY_LINE) {
#if HEDDLE_EMULATED
  emulator::warpgroup_wait(pending, line);
#elif HEDDLE_SM90A
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(pending) : "memory");
#endif
}

// Prevents the compiler from moving reads of v to before a wait_products.
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

// wgmma.mma_async.sync.aligned.m64nNk16.f32.bf16.bf16 (9.7.15.5.2): d (64, N) (+)= a (64, 16) b (16, N), both in shared
// memory. N = 64, 128 or 256. Warp w of the warpgroup holds rows 16 w to 16 w + 15. Register r of lane i is row i / 4 +
// 8 (r / 2 % 2), column 8 (r / 4) + 2 (i % 4) + r % 2. `transposed`: the operand is MN-major. The product runs
// asynchronously until wait_products.
template <bool a_transposed, bool b_transposed, int registers>
__device__ inline void multiply_tiles(float (&d)[registers], uint64_t a, uint64_t b, bool add HEDDLE_LINE) {
  static_assert(registers == 32 || registers == 64 || registers == 128, "N is twice the number of registers");
#if HEDDLE_EMULATED
  emulator::warpgroup_product({d, a, b, 2 * registers, a_transposed, b_transposed, add}, line);
#elif HEDDLE_SM90A
  wgmma_bf16<a_transposed, b_transposed>(d, a, b, add);
#endif
}

// wgmma.mma_async.sync.aligned.m64n128k32.f32.e4m3.e4m3: d (64, 128) (+)= a (64, 32) b (32, 128), both K-major in
// shared memory. Hopper accumulates the products of one instruction with fewer bits than f32 (14 according to
// "DeepSeek-V3 Technical Report" 2024, 3.3.2). The emulator uses f32.
__device__ inline void multiply_e4m3_tiles(float (&d)[64], uint64_t a, uint64_t b, bool add HEDDLE_LINE) {
#if HEDDLE_EMULATED
  emulator::warpgroup_product({d, a, b, 128, false, false, add, nullptr, true}, line);
#elif HEDDLE_SM90A
  wgmma_e4m3(d, a, b, add);
#endif
}

// As multiply_tiles with a in registers, which must not change until the wait. Register r of lane i holds elements 2 (i
// % 4) + 8 (r / 2) along k and the next, of row i / 4 + 8 (r % 2) of the warp's 16. N = 64, 96 or 128.
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
