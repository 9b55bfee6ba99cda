// The instructions of sm_90a: barriers that count bytes, copies of boxes by the tensor memory accelerator, products of
// warpgroups. As in ptx.cuh the PTX and its meaning stand side by side; the meaning is native/emulator/asynchronous.h's. Section
// numbers are those of NVIDIA's "Parallel Thread Execution ISA"; test/emulator holds the layouts against its figures.
//
// HEDDLE_SM90A says whether the code being compiled may use them: for any other architecture the kernels are empty.
#pragma once
#include "cuda/ptx.cuh"
#if HEDDLE_EMULATED
#include "emulator/asynchronous.h"
#endif

#if HEDDLE_EMULATED || defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define HEDDLE_SM90A 1
#else
#define HEDDLE_SM90A 0
#endif
#if !HEDDLE_EMULATED && HEDDLE_SM90A
#include "cuda/ptx_attention_sm90.cuh"
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
__device__ inline unsigned shared_address(const void* data) { return static_cast<unsigned>(__cvta_generic_to_shared(data)); }
#endif

// mbarrier.init (9.7.13.15.9): a phase is complete after `count` arrivals, when as many bytes have come as were expected.
__device__ inline void init_barrier(uint64_t* barrier, unsigned count HEDDLE_LINE) {
#if HEDDLE_EMULATED
  emulator::init_barrier(barrier, count, line);
#else
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(count) : "memory");
#endif
}

// fence.proxy.async (9.7.13.4): what this thread wrote before, barriers among it, is seen by copies and products after it.
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
// mbarrier.arrive.expect_tx: and the phase is to wait for so many bytes more.
__device__ inline void arrive_expecting(uint64_t* barrier, unsigned bytes HEDDLE_LINE) {
#if HEDDLE_EMULATED
  emulator::arrive(barrier, bytes, line);
#else
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)), "r"(bytes) : "memory");
#endif
}

// mbarrier.try_wait.parity (9.7.13.15.16) until it succeeds: the phase of that parity, the current one or the one before, is complete.
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
      "over:\n}\n" ::"r"(shared_address(barrier)), "r"(parity) : "memory");
#endif
}

// bar.sync (9.7.13.1): one of the barriers 1 to 15 of a block, by `threads` of its threads, whole warps of them. Nobody goes on before so many
// have come; what each did before is then seen by all. arrive_named counts as coming, and does not wait.
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

// cp.async.bulk (9.7.9.25.4.1): bytes that lie together, at multiples of 16 and as many as a multiple of 16, counted by the barrier.
__device__ inline void copy_bytes(void* to, const void* from, unsigned bytes, uint64_t* barrier HEDDLE_LINE) {
#if HEDDLE_EMULATED
  emulator::copy_bytes(to, from, bytes, barrier, line);
#elif HEDDLE_SM90A
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(shared_address(to)), "l"(from), "r"(bytes),
               "r"(shared_address(barrier))
               : "memory");
#endif
}

// cp.async.bulk.tensor.2d (9.7.9.25.5.2): the box of the map's matrix from (row, column) on, zeros outside the matrix, to shared memory;
// all its bytes are then counted by the barrier.
__device__ inline void copy_box(void* to, const void* map, int column, int row, uint64_t* barrier HEDDLE_LINE) {
#if HEDDLE_EMULATED
  const int32_t at[2] = {column, row};
  emulator::copy_box(to, map, 2, at, barrier, line);
#elif HEDDLE_SM90A
  asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4}], [%2];" ::"r"(shared_address(to)),
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
  asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, %6}], [%2];" ::"r"(shared_address(to)),
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

// setmaxnreg (9.7.20.5): registers of each of the warpgroup's threads from here on. Taking waits until others of the block have given as many
// back: a block has those that it was launched with and no more, which of `threads` threads are 65536 / threads, in eights, for each of
// them. Of 384 threads that is 168, so that three warpgroups share 504: more would be waited for forever.
template <int threads> constexpr bool registers_fit(int of_all_warpgroups) { return of_all_warpgroups * 128 <= 65536 / threads / 8 * 8 * threads; }
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

// A matrix descriptor (9.7.15.5.1.2.2) of a tile with the 128-byte swizzle at a multiple of 1024 bytes plus `start`: lines of 128 bytes, the
// 16 bytes p of line r at p ^ (r % 8). Depth innermost: a line is 64 depths of one row, `stride` bytes lie between groups of 8 rows, `leading`
// means nothing. Rows innermost: a line is 64 rows at one depth, `stride` lies between groups of 8 depths, `leading` between groups of 64 rows.
__device__ inline uint64_t describe_tile(const void* tile, unsigned leading, unsigned stride) {
  const uint64_t address = shared_address(tile);
  return (address & 0x3ffff) >> 4 | static_cast<uint64_t>(leading >> 4) << 16 | static_cast<uint64_t>(stride >> 4) << 32 | uint64_t{1} << 62;
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
// wgmma.wait_group (9.7.15.7.3): until at most `pending` of the committed groups are under way.
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

#if !HEDDLE_EMULATED && HEDDLE_SM90A
template <bool a_transposed, bool b_transposed> __device__ inline void wgmma_bf16_n128(float (&d)[64], uint64_t a, uint64_t b, int add) {
  asm volatile(
      "{\n.reg .pred p;\n"
      "setp.ne.b32 p, %66, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
      "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
      "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}, "
      "%64, %65, p, 1, 1, %67, %68;\n}\n"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]),
        "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15]),
        "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]), "+f"(d[22]), "+f"(d[23]),
        "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31]),
        "+f"(d[32]), "+f"(d[33]), "+f"(d[34]), "+f"(d[35]), "+f"(d[36]), "+f"(d[37]), "+f"(d[38]), "+f"(d[39]),
        "+f"(d[40]), "+f"(d[41]), "+f"(d[42]), "+f"(d[43]), "+f"(d[44]), "+f"(d[45]), "+f"(d[46]), "+f"(d[47]),
        "+f"(d[48]), "+f"(d[49]), "+f"(d[50]), "+f"(d[51]), "+f"(d[52]), "+f"(d[53]), "+f"(d[54]), "+f"(d[55]),
        "+f"(d[56]), "+f"(d[57]), "+f"(d[58]), "+f"(d[59]), "+f"(d[60]), "+f"(d[61]), "+f"(d[62]), "+f"(d[63])
      : "l"(a), "l"(b), "r"(add), "n"(a_transposed ? 1 : 0), "n"(b_transposed ? 1 : 0));
}
template <bool a_transposed, bool b_transposed> __device__ inline void wgmma_bf16_n256(float (&d)[128], uint64_t a, uint64_t b, int add) {
  asm volatile(
      "{\n.reg .pred p;\n"
      "setp.ne.b32 p, %130, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
      "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
      "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, "
      "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, "
      "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, "
      "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, "
      "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127}, "
      "%128, %129, p, 1, 1, %131, %132;\n}\n"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]),
        "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15]),
        "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]), "+f"(d[22]), "+f"(d[23]),
        "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31]),
        "+f"(d[32]), "+f"(d[33]), "+f"(d[34]), "+f"(d[35]), "+f"(d[36]), "+f"(d[37]), "+f"(d[38]), "+f"(d[39]),
        "+f"(d[40]), "+f"(d[41]), "+f"(d[42]), "+f"(d[43]), "+f"(d[44]), "+f"(d[45]), "+f"(d[46]), "+f"(d[47]),
        "+f"(d[48]), "+f"(d[49]), "+f"(d[50]), "+f"(d[51]), "+f"(d[52]), "+f"(d[53]), "+f"(d[54]), "+f"(d[55]),
        "+f"(d[56]), "+f"(d[57]), "+f"(d[58]), "+f"(d[59]), "+f"(d[60]), "+f"(d[61]), "+f"(d[62]), "+f"(d[63]),
        "+f"(d[64]), "+f"(d[65]), "+f"(d[66]), "+f"(d[67]), "+f"(d[68]), "+f"(d[69]), "+f"(d[70]), "+f"(d[71]),
        "+f"(d[72]), "+f"(d[73]), "+f"(d[74]), "+f"(d[75]), "+f"(d[76]), "+f"(d[77]), "+f"(d[78]), "+f"(d[79]),
        "+f"(d[80]), "+f"(d[81]), "+f"(d[82]), "+f"(d[83]), "+f"(d[84]), "+f"(d[85]), "+f"(d[86]), "+f"(d[87]),
        "+f"(d[88]), "+f"(d[89]), "+f"(d[90]), "+f"(d[91]), "+f"(d[92]), "+f"(d[93]), "+f"(d[94]), "+f"(d[95]),
        "+f"(d[96]), "+f"(d[97]), "+f"(d[98]), "+f"(d[99]), "+f"(d[100]), "+f"(d[101]), "+f"(d[102]), "+f"(d[103]),
        "+f"(d[104]), "+f"(d[105]), "+f"(d[106]), "+f"(d[107]), "+f"(d[108]), "+f"(d[109]), "+f"(d[110]), "+f"(d[111]),
        "+f"(d[112]), "+f"(d[113]), "+f"(d[114]), "+f"(d[115]), "+f"(d[116]), "+f"(d[117]), "+f"(d[118]), "+f"(d[119]),
        "+f"(d[120]), "+f"(d[121]), "+f"(d[122]), "+f"(d[123]), "+f"(d[124]), "+f"(d[125]), "+f"(d[126]), "+f"(d[127])
      : "l"(a), "l"(b), "r"(add), "n"(a_transposed ? 1 : 0), "n"(b_transposed ? 1 : 0));
}
__device__ inline void wgmma_e4m3_n128(float (&d)[64], uint64_t a, uint64_t b, int add) {
  asm volatile(
      "{\n.reg .pred p;\n"
      "setp.ne.b32 p, %66, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n128k32.f32.e4m3.e4m3 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
      "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
      "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}, "
      "%64, %65, p, 1, 1;\n}\n"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]),
        "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15]),
        "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]), "+f"(d[22]), "+f"(d[23]),
        "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31]),
        "+f"(d[32]), "+f"(d[33]), "+f"(d[34]), "+f"(d[35]), "+f"(d[36]), "+f"(d[37]), "+f"(d[38]), "+f"(d[39]),
        "+f"(d[40]), "+f"(d[41]), "+f"(d[42]), "+f"(d[43]), "+f"(d[44]), "+f"(d[45]), "+f"(d[46]), "+f"(d[47]),
        "+f"(d[48]), "+f"(d[49]), "+f"(d[50]), "+f"(d[51]), "+f"(d[52]), "+f"(d[53]), "+f"(d[54]), "+f"(d[55]),
        "+f"(d[56]), "+f"(d[57]), "+f"(d[58]), "+f"(d[59]), "+f"(d[60]), "+f"(d[61]), "+f"(d[62]), "+f"(d[63])
      : "l"(a), "l"(b), "r"(add));
}
template <bool b_transposed> __device__ inline void wgmma_left_n64(float (&d)[32], const uint32_t (&a)[4], uint64_t b, int add) {
  asm volatile(
      "{\n.reg .pred p;\n"
      "setp.ne.b32 p, %37, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}, "
      "{%32, %33, %34, %35}, %36, p, 1, 1, %38;\n}\n"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]),
        "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15]),
        "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]), "+f"(d[22]), "+f"(d[23]),
        "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(add), "n"(b_transposed ? 1 : 0));
}
template <bool b_transposed> __device__ inline void wgmma_left_n128(float (&d)[64], const uint32_t (&a)[4], uint64_t b, int add) {
  asm volatile(
      "{\n.reg .pred p;\n"
      "setp.ne.b32 p, %69, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
      "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
      "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}, "
      "{%64, %65, %66, %67}, %68, p, 1, 1, %70;\n}\n"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]),
        "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15]),
        "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]), "+f"(d[22]), "+f"(d[23]),
        "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31]),
        "+f"(d[32]), "+f"(d[33]), "+f"(d[34]), "+f"(d[35]), "+f"(d[36]), "+f"(d[37]), "+f"(d[38]), "+f"(d[39]),
        "+f"(d[40]), "+f"(d[41]), "+f"(d[42]), "+f"(d[43]), "+f"(d[44]), "+f"(d[45]), "+f"(d[46]), "+f"(d[47]),
        "+f"(d[48]), "+f"(d[49]), "+f"(d[50]), "+f"(d[51]), "+f"(d[52]), "+f"(d[53]), "+f"(d[54]), "+f"(d[55]),
        "+f"(d[56]), "+f"(d[57]), "+f"(d[58]), "+f"(d[59]), "+f"(d[60]), "+f"(d[61]), "+f"(d[62]), "+f"(d[63])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(add), "n"(b_transposed ? 1 : 0));
}
#endif

// wgmma.mma_async.sync.aligned.m64nNk16.f32.bf16.bf16 (9.7.15.5.2): d (64, N) (+)= a (64, 16) b (16, N), both in shared memory; N = 64, 128
// or 256. Warp w of the warpgroup holds rows 16 w to 16 w + 15: register r of lane i is row i / 4 + 8 (r / 2 % 2), column 8 (r / 4) + 2 (i % 4) +
// r % 2. transposed: rows (a) or columns (b) innermost. It runs on by itself until wait_products.
template <bool a_transposed, bool b_transposed, int registers>
__device__ inline void multiply_tiles(float (&d)[registers], uint64_t a, uint64_t b, bool add HEDDLE_LINE) {
  static_assert(registers == 32 || registers == 64 || registers == 128, "N is twice as many");
#if HEDDLE_EMULATED
  emulator::warpgroup_product({d, a, b, 2 * registers, a_transposed, b_transposed, add}, line);
#elif HEDDLE_SM90A
  if constexpr (registers == 32) wgmma_bf16_n64<a_transposed, b_transposed>(d, a, b, add);
  else if constexpr (registers == 64) wgmma_bf16_n128<a_transposed, b_transposed>(d, a, b, add);
  else wgmma_bf16_n256<a_transposed, b_transposed>(d, a, b, add);
#endif
}

// wgmma.mma_async.sync.aligned.m64n128k32.f32.e4m3.e4m3: the same 32 deep, of bytes in e4m3, the depth innermost in both. Hopper adds the
// products of such a call up with fewer bits than f32 has ("DeepSeek-V3 Technical Report" 2024, 3.3.2, counts 14): here they are f32's.
__device__ inline void multiply_e4m3_tiles(float (&d)[64], uint64_t a, uint64_t b, bool add HEDDLE_LINE) {
#if HEDDLE_EMULATED
  emulator::warpgroup_product({d, a, b, 128, false, false, add, nullptr, true}, line);
#elif HEDDLE_SM90A
  wgmma_e4m3_n128(d, a, b, add);
#endif
}

// The same with a in registers, which must stay as they are until the wait: register r of lane i holds row i / 4 + 8 (r % 2) of the warp's 16,
// depths 2 (i % 4) + 8 (r / 2) and the next. N = 64, 96 or 128.
template <bool b_transposed, int registers>
__device__ inline void multiply_registers(float (&d)[registers], const uint32_t (&a)[4], uint64_t b, bool add HEDDLE_LINE) {
  static_assert(registers == 32 || registers == 48 || registers == 64, "N is twice as many");
#if HEDDLE_EMULATED
  emulator::warpgroup_product({d, 0, b, 2 * registers, false, b_transposed, add, a}, line);
#elif HEDDLE_SM90A
  if constexpr (registers == 32) wgmma_left_n64<b_transposed>(d, a, b, add);
  else if constexpr (registers == 48) wgmma_left_n96<b_transposed>(d, a, b, add);
  else wgmma_left_n128<b_transposed>(d, a, b, add);
#endif
}

#undef HEDDLE_LINE
#undef HEDDLE_ONLY_LINE

}  // namespace ptx
}  // namespace cuda
}  // namespace heddle
