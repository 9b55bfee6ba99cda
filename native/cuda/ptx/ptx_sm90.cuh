// The instructions of sm_90a: barriers that count bytes, copies of boxes by the tensor memory accelerator, products of
// warpgroups. As in ptx.cuh the PTX and its meaning stand side by side; the meaning is
// native/emulator/asynchronous.h's. Section numbers are those of NVIDIA's "Parallel Thread Execution ISA";
// test/emulator holds the layouts against its figures.
//
// HEDDLE_SM90A says whether the code being compiled may use them: for any other architecture the kernels are empty.
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

// mbarrier.init (9.7.13.15.9): a phase is complete after `count` arrivals, when as many bytes have come as were
// expected.
__device__ inline void init_barrier(uint64_t* barrier, unsigned count HEDDLE_LINE) {
#if HEDDLE_EMULATED
  emulator::init_barrier(barrier, count, line);
#else
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(count) : "memory");
#endif
}

// fence.proxy.async (9.7.13.4): what this thread wrote before, barriers among it, is seen by copies and products after
// it.
__device__ inline void fence_async() {
#if HEDDLE_EMULATED
  emulator::fence_async();
#else
  asm volatile("fence.proxy.async;" ::: "memory");
#endif
}

// mbarrier.arrive (9.7.13.15.13), which releases what the thread did before.
__device__ inline void arrive(uint64_t* barrier HEDDLE_LINE) {
#if HEDDLE_EMULATED
  emulator::arrive(barrier, 0, line);
#else
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier)) : "memory");
#endif
}
// mbarrier.arrive.expect_tx: arrives, and makes the phase wait for `bytes` more bytes.
__device__ inline void arrive_expecting(uint64_t* barrier, unsigned bytes HEDDLE_LINE) {
#if HEDDLE_EMULATED
  emulator::arrive(barrier, bytes, line);
#else
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)), "r"(bytes)
      : "memory");
#endif
}

// mbarrier.try_wait.parity (9.7.13.15.16) until it succeeds: the phase of that parity, the current one or the one
// before, is complete.
__device__ inline void wait_barrier(uint64_t* barrier, unsigned parity HEDDLE_LINE) {
#if HEDDLE_EMULATED
  emulator::wait_barrier(barrier, parity, line);
#else
  asm volatile(
      "{\n.reg .pred done;\n"
      "again:\n"
      "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
      "@done bra over;\n"  // not bra.uni: lanes of a warp may find it complete at different times
      "bra again;\n"
      "over:\n}\n" ::"r"(shared_address(barrier)),
      "r"(parity)
      : "memory");
#endif
}

// bar.sync (9.7.13.1) on one of a block's barriers 1 to 15, for `threads` of its threads in whole warps. Waits until
// that many have arrived. Their earlier writes are then visible to all. arrive_named arrives without waiting.
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

// cp.async.bulk (9.7.9.25.4.1): bytes that lie together, at multiples of 16 and as many as a multiple of 16, counted by
// the barrier.
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

// cp.async.bulk.tensor.2d (9.7.9.25.5.2): the box of the map's matrix from (row, column) on, zeros outside the matrix,
// to shared memory; all its bytes are then counted by the barrier.
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
// The same of a tensor of four dimensions, the innermost coordinate first.
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

// setmaxnreg (9.7.20.5) sets the number of registers of each of the warpgroup's threads. Taking registers waits until
// other warps have given them back, because a block keeps its registers from launch: 65536 / threads per thread,
// rounded down to a multiple of 8. With 384 threads that is 168, so three warpgroups share 504. Asking for more waits
// forever.
template <int threads> constexpr bool registers_fit(int of_all_warpgroups) {
  return of_all_warpgroups * 128 <= 65536 / threads / 8 * 8 * threads;
}
template <int registers> __device__ inline void take_registers(HEDDLE_ONLY_LINE) {
  static_assert(registers % 8 == 0 && registers >= 24 && registers <= 256, "what the instruction takes");
#if HEDDLE_EMULATED
  emulator::set_registers(registers, true, line);
#elif HEDDLE_SM90A
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(registers));
#endif
}
template <int registers> __device__ inline void give_registers(HEDDLE_ONLY_LINE) {
  static_assert(registers % 8 == 0 && registers >= 24 && registers <= 256, "what the instruction takes");
#if HEDDLE_EMULATED
  emulator::set_registers(registers, false, line);
#elif HEDDLE_SM90A
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(registers));
#endif
}

// A matrix descriptor (9.7.15.5.1.2.2) of a tile with the 128-byte swizzle at a multiple of 1024 bytes plus `start`:
// lines of 128 bytes, the 16 bytes p of line r at p ^ (r % 8). Depth innermost: a line is 64 depths of one row,
// `stride` bytes lie between groups of 8 rows, `leading` means nothing. Rows innermost: a line is 64 rows at one depth,
// `stride` lies between groups of 8 depths, `leading` between groups of 64 rows.
__device__ inline uint64_t describe_tile(const void* tile, unsigned leading, unsigned stride) {
  const uint64_t address = shared_address(tile);
  return (address & 0x3ffff) >> 4 | static_cast<uint64_t>(leading >> 4) << 16 |
         static_cast<uint64_t>(stride >> 4) << 32 | uint64_t{1} << 62;
}

// wgmma.fence (9.7.15.7.1): before the first product, and whenever registers that one adds to were touched.
__device__ inline void fence_products(HEDDLE_ONLY_LINE) {
#if HEDDLE_EMULATED
  emulator::warpgroup_fence(line);
#elif HEDDLE_SM90A
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#endif
}
// wgmma.commit_group (9.7.15.7.2)
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

// Ties a register to this place: the compiler may not move what reads it to before a wait.
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
// 8 (r / 2 % 2), column 8 (r / 4) + 2 (i % 4) + r % 2. `transposed`: rows (a) or columns (b) innermost. Runs
// asynchronously until wait_products.
template <bool a_transposed, bool b_transposed, int registers>
__device__ inline void multiply_tiles(float (&d)[registers], uint64_t a, uint64_t b, bool add HEDDLE_LINE) {
  static_assert(registers == 32 || registers == 64 || registers == 128, "N is twice as many");
#if HEDDLE_EMULATED
  emulator::warpgroup_product({d, a, b, 2 * registers, a_transposed, b_transposed, add}, line);
#elif HEDDLE_SM90A
  wgmma_bf16<a_transposed, b_transposed>(d, a, b, add);
#endif
}

// wgmma.mma_async.sync.aligned.m64n128k32.f32.e4m3.e4m3: the same 32 deep, of bytes in e4m3, the depth innermost in
// both. Hopper adds the products of such a call up with fewer bits than f32 has ("DeepSeek-V3 Technical Report" 2024,
// 3.3.2, counts 14): here they are f32's.
__device__ inline void multiply_e4m3_tiles(float (&d)[64], uint64_t a, uint64_t b, bool add HEDDLE_LINE) {
#if HEDDLE_EMULATED
  emulator::warpgroup_product({d, a, b, 128, false, false, add, nullptr, true}, line);
#elif HEDDLE_SM90A
  wgmma_e4m3(d, a, b, add);
#endif
}

// The same with a in registers, which must not change until the wait. Register r of lane i holds row i / 4 + 8 (r % 2)
// of the warp's 16, depths 2 (i % 4) + 8 (r / 2) and the next. N = 64, 96 or 128.
template <bool b_transposed, int registers>
__device__ inline void multiply_registers(
    float (&d)[registers], const uint32_t (&a)[4], uint64_t b, bool add HEDDLE_LINE) {
  static_assert(registers == 32 || registers == 48 || registers == 64, "N is twice as many");
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
