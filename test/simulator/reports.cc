// Tests that the simulator computes single instructions as the manual says, and that it reports each kind of mistake.
#include "clusters.h"
#include "instructions.h"
#include "mutations.h"
#include "registers.h"

namespace simulator {
namespace tests {
namespace {

void test_memory() {
  reports("an access beyond an allocation", "after the start of an allocation", "st.global.u32 [%d1+4000], %r0;");
  reports("an access that ends beyond the address space", "global memory: 4 bytes at 0xfffffffffffffffc",
      "mov.u64 %d2, -4; st.global.u32 [%d2], %r0;");
  reports("an access beyond the address space, after the same instruction accessed an allocation",
      "global memory: 4 bytes at 0xfffffffffffffffc",
      "mov.u64 %d2, %d1;\nA:\nst.global.u32 [%d2], %r0; setp.ne.u64 %p1, %d2, %d1; mov.u64 %d2, -4; @!%p1 bra A;");
  reports("a misaligned access", "is not a multiple of", "st.global.u32 [%d1+2], %r0;");
  reports("an access beyond shared memory", "are outside of", "st.shared.u32 [%r2+4096], %r0;");
  reports("a read of shared memory that was not written", "was never written", "ld.shared.u32 %r3, [%r2];");
  reports("a division by zero", "division by zero", "sub.s32 %r3, %r0, 5; div.s32 %r4, %r0, %r3;");
  reports("an opcode that is not modeled", "not modeled", "sad.u32 %r3, %r0, %r1, %r2;");
}

void test_races() {
  const std::string write = "st.shared.u32 [%r2], %r0; ", other =
                                                              "xor.b32 %r3, %r0, 32; shl.b32 %r3, %r3, 2; "
                                                              "add.s32 %r3, %r1, %r3; ";
  const std::string neighbor = "xor.b32 %r3, %r0, 1; shl.b32 %r3, %r3, 2; add.s32 %r3, %r1, %r3; ";
  reports("a read without a barrier", "race",
      write + other + "setp.ge.s32 %p1, %r0, 32; @%p1 ld.shared.u32 %r4, [%r3];", 64);
  reports("a write to bytes that another thread still reads", "race",
      write + other + "bar.sync 0; ld.shared.u32 %r4, [%r3]; st.shared.u32 [%r2], %r4;", 64);
  reports("two writes to one address", "race", "st.shared.u32 [%r1], %r0;", 64);
  reports("a read of another lane's write", "race", write + neighbor + "ld.shared.u32 %r4, [%r3];");
  reports("a read of another lane's write after a proxy fence, which orders no lanes", "race",
      write + "fence.proxy.async.shared::cta; " + neighbor + "ld.shared.u32 %r4, [%r3];");
  accepts("a barrier between a write and a read", write + other + "bar.sync 0; ld.shared.u32 %r4, [%r3];", 64);
  accepts("bar.warp.sync between a write and a read", write + neighbor + "bar.warp.sync -1; ld.shared.u32 %r4, [%r3];");
  // The first warp accesses the word at s in one way, and then the second in another.
  const std::string clear = "mov.u32 %r5, 0; setp.eq.s32 %p1, %r0, 0; @%p1 st.shared.u32 [%r1], %r5; ",
                    add = "atom.shared.add.u32 %r4, [%r1], %r0; ",
                    by_second = "setp.lt.s32 %p2, %r0, 32; @%p2 bra A; " + add + "\nA:\n";
  reports("an atomic of another warp after an atomic and a read", "without waiting for a read",
      clear + "bar.sync 0; " + add +
          "bar.sync 0; setp.ge.s32 %p1, %r0, 32; @%p1 bra B; ld.shared.u32 %r4, [%r1];\nB:\n" + by_second,
      64);
  reports("an atomic of another warp after a write and an atomic", "overwrites a write",
      "setp.ge.s32 %p1, %r0, 32; @%p1 bra B; " + clear + "bar.warp.sync -1; " + add + "\nB:\n" + by_second, 64);
  accepts("atomics of two warps", clear + "bar.sync 0; " + add + add + "bar.sync 0; ld.shared.u32 %r4, [%r1];", 64);
  reports("a read after bar.arrive, which does not wait", "race",
      write + other + "bar.sync 0; setp.ge.s32 %p1, %r0, 32; @%p1 bra A; " + write +
          "bar.sync 1, 64; bra B;\nA:\nbar.arrive 1, 64; ld.shared.u32 %r4, [%r3];\nB:\n",
      64);
}

void test_barriers() {
  const std::string half = "setp.lt.s32 %p1, %r0, 16; @%p1 bra A; ";
  reports("a barrier that only half of a warp reaches", "needs all threads", half + "bar.sync 0;\nA:\n");
  reports("a barrier that the other warp does not reach", "deadlock",
      "setp.lt.s32 %p1, %r0, 32; @%p1 bra A; bar.sync 0;\nA:\n", 64);
  reports("a barrier with two different thread counts", "others expect",
      "setp.lt.s32 %p1, %r0, 32; @%p1 bra A; bar.sync 1, 64; bra B;\nA:\nbar.sync 1, 96;\nB:\n", 96);
  reports("an arrival at a barrier that no warp waits for", "have arrived at barrier",
      "setp.lt.s32 %p1, %r0, 32; @%p1 bra A; bar.arrive 1, 64;\nA:\n", 64);
  reports("a shuffle with diverged lanes", "member mask",
      half + "mov.u32 %r4, -1; shfl.sync.idx.b32 %r5, %r0, 0, 31, %r4;\nA:\n");
}

void test_copies() {
  const std::string copy =
      "mul.wide.u32 %d2, %r0, 16; add.s64 %d2, %d0, %d2; shl.b32 %r3, %r0, 4; add.s32 %r3, %r1, %r3; "
      "mov.u32 %r4, 16; cp.async.cg.shared.global [%r3], [%d2], 16, %r4; ";
  const std::string commit = "cp.async.commit_group; ", wait = "cp.async.wait_group 0; ";
  reports("a read of a copy in flight", "was not waited for", copy + commit + "ld.shared.u32 %r5, [%r3]; " + wait);
  reports("a read of a copy that was not committed", "was not waited for", copy + wait + "ld.shared.u32 %r5, [%r3];");
  reports("a kernel that ends while copies are in flight", "in flight", copy + commit);
  reports("a read of another thread's copy", "race", copy + commit + wait + "ld.shared.u32 %r5, [%r2+16];");
  accepts("a copy that was waited for", copy + commit + wait + "ld.shared.u32 %r5, [%r3];");
}

// Kernels that may start before the preceding kernel ends (programmatic dependent launch).
void test_dependent_launches() {
  const std::string wait = "griddepcontrol.wait; ", load = "ld.global.u32 %r3, [%d1]; ";
  const auto expect = [](const char* name, const char* words, const std::string& body) {
    const std::string failure = run_ptx(body, 64, 4096, 1, 168, true).failure;
    const bool holds = *words ? failure.find(words) != std::string::npos : failure.empty();
    check(holds, name, failure.empty() ? "nothing was reported" : failure);
  };
  const char* const early = "before griddepcontrol.wait";
  expect("accesses after the wait", "",
      "st.shared.u32 [%r2], %r0; " + wait + "griddepcontrol.launch_dependents; " + load + "st.global.u32 [%d1], %r3;");
  expect("a load before the wait", early, load + wait);
  expect("a store before the wait", early, "st.global.u32 [%d1], %r0; " + wait);
  expect("a load by a generic address before the wait", early, "ld.u32 %r3, [%d1]; " + wait);
  expect("an atomic before the wait", early, "atom.global.add.u32 %r3, [%d1], %r0; " + wait);
  expect("a copy before the wait", early,
      "mul.wide.u32 %d2, %r0, 16; add.s64 %d2, %d0, %d2; shl.b32 %r3, %r0, 4; add.s32 %r3, %r1, %r3; "
      "mov.u32 %r4, 16; cp.async.cg.shared.global [%r3], [%d2], 16, %r4; cp.async.commit_group; "
      "cp.async.wait_group 0; " +
          wait);
  expect("a load while only half of the warp has waited", early,
      "setp.lt.s32 %p1, %r0, 16; @%p1 griddepcontrol.wait; " + load + wait);
  expect("a load after launch_dependents without a wait", early, "griddepcontrol.launch_dependents; " + load + wait);
  expect("threads that exit without the wait", "exits without griddepcontrol.wait",
      "setp.ge.s32 %p1, %r0, 32; @%p1 bra A; " + wait + "\nA:\n");
  accepts("a load without a wait, in a kernel that starts after the one before it", load);
}

// Continues with thread 0 only. The others branch to A.
const std::string one = "setp.ne.s32 %p1, %r0, 0; @%p1 bra A; ";
void test_hopper() {
  const std::string init = one + "mov.u32 %r3, 1; mbarrier.init.shared::cta.b64 [%r1], %r3; ";
  const std::string fence = "fence.proxy.async.shared::cta;\nA:\nbar.sync 0; ", again = "@%p1 bra B; ";
  const std::string expect = "mov.u32 %r4, 64; mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r1], %r4; ";
  const std::string load =
      "add.s32 %r5, %r1, 1024; "
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r5], [%d0], %r4, [%r1]; ";
  const std::string wait =
      "\nB:\n{\n.reg .pred done;\nagain:\nmbarrier.try_wait.parity.shared::cta.b64 done, [%r1], 0;\n"
      "@done bra over;\nbra again;\nover:\n}\n";
  const std::string read = "add.s32 %r5, %r1, 1024; ld.shared.u32 %r6, [%r5]; ";
  accepts("a bulk copy", init + fence + again + expect + load + wait + read);
  reports(
      "a bulk copy that was not waited for", "not waited for", init + fence + again + expect + load + "\nB:\n" + read);
  reports("an mbarrier that is initialized without a proxy fence", "fence.proxy.async",
      init + "\nA:\nbar.sync 0; " + again + expect + load + wait);
  // Eight copies advance the clock of the copies, and after the wait the thread has seen that time. Another copy then
  // overwrites a write of the thread.
  std::string parts = "mov.u32 %r4, 128; mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r1], %r4; mov.u32 %r4, 16; ";
  const std::string part =
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r5], [%d0], %r4, [%r1]; ";
  for (int n = 0; n < 8; ++n) parts += "add.s32 %r5, %r1, " + std::to_string(1024 + n * 16) + "; " + part;
  const std::string rewrite = "setp.ne.s32 %p1, %r0, 0; @%p1 bra C; add.s32 %r5, %r1, 2048; st.shared.u32 [%r5], %r4; ";
  const std::string second = "mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r1], %r4; " + part;
  const std::string after = init + fence + again + parts + wait + rewrite;
  accepts("a copy over a write with a fence", after + "fence.proxy.async.shared::cta; " + second +
                                                  "\n{\n.reg .pred done;\nmore:\n"
                                                  "mbarrier.try_wait.parity.shared::cta.b64 done, [%r1], 1;\n"
                                                  "@!done bra more;\n}\nC:\n");
  reports("a copy over a write without a fence, after other copies", "has not executed fence.proxy.async",
      after + second + "\nC:\n");
  reports("a copy of fewer bytes than expected", "deadlock",
      init + fence + again + expect + "mov.u32 %r4, 32; " + load + wait);
  reports("too many arrivals", "more arrivals",
      one + "mov.u32 %r3, 2; mbarrier.init.shared::cta.b64 [%r1], %r3; " + fence + again +
          "mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r1], 64; mbarrier.arrive.shared::cta.b64 _, [%r1]; "
          "mbarrier.arrive.shared::cta.b64 _, [%r1];\nB:\n");
  reports(
      "an mbarrier object that was not initialized", "no mbarrier object", "mbarrier.arrive.shared::cta.b64 _, [%r1];");
  reports("a plain write to an mbarrier object", "mbarrier object", init + "st.shared.u32 [%r1], %r3;\nA:\n");
  const std::string store = "shl.b32 %r3, %r0, 4; st.shared.u32 [%r2], %r0; ";
  const std::string bulk =
      "mov.u32 %r4, 128; cp.async.bulk.global.shared::cta.bulk_group [%d0], [%r1], %r4; "
      "cp.async.bulk.commit_group; ";
  const std::string fenced = store + "fence.proxy.async.shared::cta; bar.sync 0; " + one;
  accepts("a bulk store", fenced + bulk + "cp.async.bulk.wait_group 0;\nA:\n");
  reports("a bulk store without a fence", "fence.proxy.async",
      store + "bar.sync 0; " + one + bulk + "cp.async.bulk.wait_group 0;\nA:\n");
  reports("a bulk store that the thread does not wait for", "bulk copies have read", fenced + bulk + "\nA:\n");
  reports("a request for more registers than were released", "deadlock",
      "setmaxnreg.dec.sync.aligned.u32 160; setmaxnreg.inc.sync.aligned.u32 176;");
}

void test_boxes() {
  // Thread 0 writes a tensor map (ops/tensor_map.h) to %d6: two rows of 64 elements of two bytes at %d0. Its box is the
  // whole tensor.
  const std::string map =
      "add.s64 %d6, %d0, 2048; mov.u64 %d7, 0x70616d20726f736e; st.global.u64 [%d6], %d7; st.global.u64 [%d6+8], %d0; "
      "mov.u32 %r20, 2; st.global.u32 [%d6+16], %r20; st.global.u32 [%d6+20], %r20; "
      "mov.u64 %d7, 64; st.global.u64 [%d6+24], %d7; mov.u64 %d7, 2; st.global.u64 [%d6+32], %d7; "
      "st.global.u64 [%d6+64], %d7; mov.u64 %d7, 128; st.global.u64 [%d6+72], %d7; "
      "mov.u32 %r20, 0x00020040; st.global.u32 [%d6+104], %r20; ";
  const std::string fill = "st.shared.u32 [%r2], %r0; st.shared.u32 [%r2+128], %r0; ",
                    fence = "fence.proxy.async.shared::cta; ", begin = "bar.sync 0; " + one + map;
  const auto store = [](const std::string& from, const std::string& of = "%d6") {
    return "mov.u32 %r21, 0; cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [" + of + ", {%r21, %r21}], [" +
           from + "]; cp.async.bulk.commit_group; ";
  };
  const std::string wait = "cp.async.bulk.wait_group.read 0; ";
  const Result r = run_ptx(fill + fence + begin + store("%r1") + wait + "\nA:\n", 32);
  // The swizzle exchanges the 16-byte pieces 0 and 1 of the second row.
  check(r.failure.empty() && r.out[5] == 5 && r.out[32] == 4 && r.out[37] == 1, "a bulk store of a box", r.failure);
  reports("a bulk store of a box without a fence", "fence.proxy.async", fill + begin + store("%r1") + wait + "\nA:\n");
  reports("a bulk store of a box that the thread does not wait for", "bulk copies have read",
      fill + fence + begin + store("%r1") + "\nA:\n");
  reports("a source that is overwritten before a bulk store has read it", "has not executed fence.proxy.async",
      fill + fence + begin + store("%r1") + "\nA:\nbar.sync 0; st.shared.u32 [%r2], %r1; " + "@%p1 bra B; " + wait +
          "\nB:\n");
  reports("a bulk store of a box from a misaligned address", "multiple of 128",
      fill + fence + begin + "add.s32 %r22, %r1, 64; " + store("%r22") + wait + "\nA:\n");
  reports("a bulk store without a tensor map", "expected a tensor map",
      fill + fence + begin + store("%r1", "%d0") + wait + "\nA:\n");
}

void test_products() {
  std::string sums;
  for (int r = 10; r < 42; ++r) sums += (r > 10 ? ", %f" : "%f") + std::to_string(r);
  const auto product = [&](const std::string& descriptor) {
    return "mov.u64 %d5, " + descriptor + "; setp.eq.s32 %p1, %r0, -1; " +
           "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {" + sums +
           "}, %d5, %d5, %p1, 1, 1, 0, 0; "
           "wgmma.commit_group.sync.aligned; wgmma.wait_group.sync.aligned 0;";
  };
  // Stores 8 KB of zeros. `good` is a descriptor with address 1024, stride 1024 and the 128-byte swizzle.
  std::string zeros = "mov.u32 %r8, 0; ";
  for (int n = 0; n < 16; ++n) zeros += "st.shared.u32 [%r2+" + std::to_string(n * 512) + "], %r8; ";
  const std::string ready = zeros + "fence.proxy.async.shared::cta; bar.sync 0; ", fence = "wgmma.fence.sync.aligned; ";
  const std::string good = "0x4000004000000040";
  const auto with = [&](const std::string& body) { return run_ptx(body, 128, 8192).failure; };
  const auto expect = [&](const char* name, const char* words, const std::string& body) {
    const std::string failure = with(body);
    check(*words ? failure.find(words) != std::string::npos : failure.empty(), name, failure);
  };
  expect("a product of tiles", "", ready + fence + product(good));
  expect("a product without wgmma.fence", "wgmma.fence", ready + product(good));
  expect("a product of a tile that was written without a proxy fence", "fence.proxy.async",
      zeros + "bar.sync 0; " + fence + product(good));
  expect("a descriptor without a swizzle", "another swizzle", ready + fence + product("0x0000004000000040"));
  expect("a descriptor with a base offset", "base offset", ready + fence + product("0x4002004000000040"));
  expect("a descriptor beyond shared memory", "are outside of", ready + fence + product("0x4000004000002040"));
}

}  // namespace
}  // namespace tests
}  // namespace simulator

int main() {
  using namespace simulator::tests;
  test_instructions();
  test_memory();
  test_races();
  test_barriers();
  test_copies();
  test_dependent_launches();
  test_hopper();
  test_boxes();
  test_registers();
  test_cubin();
  test_products();
  test_cluster_registers();
  test_cluster_barriers();
  test_multicast();
  test_products_of_pairs();
  test_ends_of_pairs();
  test_mutants_of_descriptors();
  test_copies_of_descriptors();
  if (!failures) std::printf("the simulator computes what the manual says, and reports each mistake\n");
  return failures ? 1 : 0;
}
