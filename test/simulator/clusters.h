// Tests of clusters: their special registers, barrier.cluster, mapa, remote arrivals and multicast copies.
#pragma once
#include "harness.h"

namespace simulator {
namespace tests {

inline Result run_pair(const std::string& body) { return run_ptx(body, 64, 4096, 2, 168, false, 2); }
// Checks that a cluster of two blocks of 64 threads fails with a message that contains `words`. "" expects no failure.
inline void expect_pair(const char* name, const char* words, const std::string& body) {
  const std::string failure = run_pair(body).failure;
  check(*words ? failure.find(words) != std::string::npos : failure.empty(), name,
      failure.empty() ? "nothing was reported" : failure);
}

inline void test_cluster_registers() {
  std::string body;
  int n = 0;
  for (const char* name : {"%cluster_ctaid.x", "%cluster_nctaid.x", "%cluster_ctarank", "%cluster_nctarank",
           "%clusterid.x", "%nclusterid.x", "%cluster_ctaid.y", "%cluster_nctaid.y"})
    body += std::string("mov.u32 %r5, ") + name + "; st.global.u32 [%d2+" + std::to_string(4 * n++) + "], %r5;\n";
  const Result r = run_ptx(
      "mov.u32 %r4, %ctaid.x; mul.wide.u32 %d2, %r4, 32; add.s64 %d2, %d0, %d2;\n" + body, 1, 64, 6, 168, false, 2);
  check(r.failure.empty(), "the special registers of clusters", r.failure);
  for (uint32_t block = 0; block < 6; ++block)
    for (uint32_t e = 0; e < 8; ++e) {
      const uint32_t expected[] = {block % 2, 2, block % 2, 2, block / 2, 3, 0, 1};
      check(r.out[block * 8 + e] == expected[e], "the special registers of block " + std::to_string(block),
          "register " + std::to_string(e) + " is " + std::to_string(r.out[block * 8 + e]));
    }
}

inline void test_cluster_barriers() {
  const std::string arrive = "barrier.cluster.arrive.aligned;\n", wait = "barrier.cluster.wait.aligned;\n";
  const std::string half = "setp.lt.s32 %p1, %r0, 16; @%p1 bra A;\n", some = "setp.lt.s32 %p1, %r0, 32; @%p1 bra A;\n";
  expect_pair("two phases of the barrier of a cluster", "", arrive + wait + arrive + wait);
  expect_pair("two arrivals without a wait", "arrives twice", arrive + arrive + wait);
  expect_pair("a wait without an arrival", "without barrier.cluster.arrive", wait);
  expect_pair("an aligned arrival of half a warp", "needs all threads", half + arrive + wait + "A:\n");
  expect_pair("arrivals in both branches of a warp", "",
      half + "barrier.cluster.arrive; bra B;\nA:\nbarrier.cluster.arrive;\nB:\n" + wait);
  expect_pair("threads that exit instead of arriving", "", some + arrive + wait + "A:\n");
  expect_pair("a warp that does not arrive", "deadlock", some + arrive + wait + "bra B;\nA:\nbar.sync 1, 64;\nB:\n");
  const std::string other = "xor.b32 %r3, %r0, 32; shl.b32 %r3, %r3, 2; add.s32 %r3, %r1, %r3;\n";
  const std::string write = "st.shared.u32 [%r2], %r0;\n" + other, read = "ld.shared.u32 %r4, [%r3];\n";
  expect_pair("a read after the barrier of a cluster", "", write + arrive + wait + read);
  expect_pair(
      "a read after a relaxed arrival", "race", write + "barrier.cluster.arrive.relaxed.aligned;\n" + wait + read);
  expect_pair("the address of a block that the cluster does not have", "of a cluster of 2 blocks",
      "mapa.shared::cluster.u32 %r3, %r1, 2;");
  expect_pair("a plain access with an address of another block", "are outside of",
      "mov.u32 %r4, %cluster_ctarank; xor.b32 %r4, %r4, 1; mapa.shared::cluster.u32 %r3, %r1, %r4; "
      "st.shared.u32 [%r3], %r0;");
}

// The program of two blocks that copy 128 bytes together, twice. Each block reads 64 bytes of global memory, and writes
// them to both blocks. Thread 0 copies, and warp 1 reads the bytes. The mbarrier `full` is at the start of shared
// memory (%r1), and `empty` 8 bytes after it (%r12).
inline std::string multicast_program() {
  const auto wait = [](const std::string& name, const std::string& scope, const std::string& at, int parity) {
    return "{\n.reg .pred done;\n" + name + ":\nmbarrier.try_wait.parity" + scope + ".shared::cta.b64 done, [" + at +
           "], " + std::to_string(parity) + ";\n@!done bra " + name + ";\n}\n";
  };
  std::string text =
      "mov.u32 %r10, %cluster_ctarank; xor.b32 %r11, %r10, 1; add.s32 %r12, %r1, 8; add.s32 %r13, %r1, 1024;\n"
      "shl.b32 %r14, %r10, 6; add.s32 %r15, %r13, %r14; mul.wide.u32 %d2, %r10, 64; add.s64 %d2, %d0, %d2;\n"
      // Each block fills its half of the source with 100 rank + tid.
      "setp.ge.s32 %p1, %r0, 16; @%p1 bra I; mul.wide.u32 %d3, %r0, 4; add.s64 %d3, %d2, %d3;\n"
      "mul.lo.s32 %r16, %r10, 100; add.s32 %r16, %r16, %r0; st.global.u32 [%d3], %r16;\n"
      "I:\nsetp.ne.s32 %p1, %r0, 0; @%p1 bra A;\n"
      "mbarrier.init.shared::cta.b64 [%r1], 1;\nmbarrier.init.shared::cta.b64 [%r12], 2;\n"
      "fence.proxy.async.shared::cta;\nA:\n"
      "barrier.cluster.arrive.aligned;\nbarrier.cluster.wait.aligned;\n"
      "setp.ge.s32 %p2, %r0, 32; @%p2 bra C;\n@%p1 bra E;\n";
  for (int n = 0; n < 2; ++n)
    text += wait("W" + std::to_string(n), ".acquire.cluster", "%r12", n ^ 1) +
            "mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r1], 128;\n"
            "mov.u32 %r17, 64; cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster "
            "[%r15], [%d2], %r17, [%r1], 3;\n";
  text += "bra E;\nC:\nsub.s32 %r18, %r0, 32; shl.b32 %r18, %r18, 2; add.s32 %r19, %r13, %r18;\n";
  for (int n = 0; n < 2; ++n)
    text += wait("R" + std::to_string(n), "", "%r1", n) + "ld.shared.u32 %r20, [%r19]; shl.b32 %r21, %r10, 7; " +
            "add.s32 %r21, %r21, " + std::to_string(1024 + 256 * n) +
            "; add.s32 %r21, %r21, %r18; cvt.u64.u32 %d4, %r21; add.s64 %d4, %d0, %d4; st.global.u32 [%d4], %r20;\n"
            "bar.warp.sync -1; setp.ne.s32 %p3, %r0, 32; @%p3 bra N" +
            std::to_string(n) +
            ";\nmbarrier.arrive.shared::cta.b64 _, [%r12];\nmapa.shared::cluster.u32 %r22, %r12, %r11;\n"
            "mbarrier.arrive.release.cluster.shared::cluster.b64 _, [%r22];\nN" +
            std::to_string(n) + ":\n";
  return text + "E:\nbarrier.cluster.arrive.release.aligned;\nbarrier.cluster.wait.acquire.aligned;\n";
}

inline void test_multicast() {
  const std::string good = multicast_program();
  const Result r = run_pair(good);
  check(r.failure.empty(), "a multicast in a cluster of two blocks", r.failure);
  for (uint32_t n = 0; n < 128; ++n)
    check(r.out[256 + n] == n % 32 / 16 * 100 + n % 16, "the bytes of a multicast",
        std::to_string(n) + " is " + std::to_string(r.out[256 + n]));
  // Replaces a part of the program everywhere.
  const auto wrong = [&](const char* name, const char* words, const std::string& from, const std::string& to) {
    std::string text = good;
    size_t found = 0;
    for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size()), ++found)
      text.replace(at, from.size(), to);
    check(found > 0, name, "the program does not contain " + from);
    expect_pair(name, words, text);
  };
  const std::string begin = "A:\nbarrier.cluster.arrive.aligned;\nbarrier.cluster.wait.aligned;\n";
  const std::string relaxed = "barrier.cluster.arrive.relaxed.aligned;\nbarrier.cluster.wait.aligned;\n";
  const std::string end = "barrier.cluster.arrive.release.aligned;\nbarrier.cluster.wait.acquire.aligned;\n";
  const std::string arrival = "mbarrier.arrive.release.cluster.shared::cluster.b64 _, [%r22];\n";
  const std::string fence = "fence.proxy.async.shared::cta;\n";
  wrong("a missing arrival at the other block", "deadlock", arrival, "");
  wrong("an arrival at the own block instead of the other one", "race", "[%r22]", "[%r12]");
  wrong("a missing arrival at the own block", "deadlock", "mbarrier.arrive.shared::cta.b64 _, [%r12];\n", "");
  wrong("an arrival at the other block whose scope is the own block", "race", ".release.cluster.shared::cluster",
      ".shared::cluster");
  wrong("a wait whose scope is the own block", "race", ".acquire.cluster.shared::cta", ".shared::cta");
  wrong("an arrival with an address of another block in .shared::cta", "no mbarrier object",
      ".release.cluster.shared::cluster.b64 _", ".shared::cta.b64 _");
  wrong("a multicast to the own block only", "deadlock", "[%r1], 3;", "[%r1], 1;");
  wrong("a multicast to a block that the cluster does not have", "a mask of blocks 7", "[%r1], 3;", "[%r1], 7;");
  wrong("a multicast without blocks", "a mask of blocks 0", "[%r1], 3;", "[%r1], 0;");
  wrong("half of a multicast", "deadlock", "mov.u32 %r17, 64;", "mov.u32 %r17, 32;");
  wrong("too few expected bytes", "was never written", "[%r1], 128;", "[%r1], 64;");
  wrong("blocks that copy to the same bytes", "overwrites a write of an asynchronous copy", "add.s32 %r15, %r13, %r14;",
      "mov.u32 %r15, %r13;");
  wrong("a missing wait for the readers of both blocks", "more arrivals", "mbarrier.try_wait.parity.acquire.cluster",
      "mov.pred done, 1; //");
  wrong("no barrier of the cluster at the start", "before its initialization is visible", begin, "A:\nbar.sync 0;\n");
  wrong(
      "a relaxed barrier of the cluster at the start", "before its initialization is visible", begin, "A:\n" + relaxed);
  wrong("a relaxed barrier of the cluster after fence.mbarrier_init", "", fence + begin,
      fence + "fence.mbarrier_init.release.cluster;\nA:\n" + relaxed);
  wrong("mbarrier objects without a proxy fence", "without fence.proxy.async", fence, "");
  wrong("no barrier of the cluster at the end", "of the cluster, which has ended", end, "");
  wrong("a relaxed barrier of the cluster at the end", "may end before", end, relaxed);
}

// Two blocks copy halves of a tile of 8 KB to both, twice. Warps 0 to 3 multiply it by itself, and thread 128 copies.
// `arrive` is the opcode of the arrivals at the other block. `early`: arrive before the product has been waited for.
inline std::string product_program(const std::string& arrive, bool early) {
  std::string sums;
  for (int r = 10; r < 42; ++r) sums += (r > 10 ? ", %f" : "%f") + std::to_string(r);
  const auto wait = [](const std::string& name, const std::string& at, int parity) {
    return "{\n.reg .pred done;\n" + name + ":\nmbarrier.try_wait.parity.shared::cta.b64 done, [" + at + "], " +
           std::to_string(parity) + ";\n@!done bra " + name + ";\n}\n";
  };
  std::string text =
      "mov.u32 %r10, %cluster_ctarank; xor.b32 %r11, %r10, 1; add.s32 %r12, %r1, 8;\n"
      "shl.b32 %r14, %r10, 12; add.s32 %r15, %r1, %r14; add.s32 %r15, %r15, 1024;\n"
      "setp.ne.s32 %p1, %r0, 128; @%p1 bra A;\n"
      "mbarrier.init.shared::cta.b64 [%r1], 1;\nmbarrier.init.shared::cta.b64 [%r12], 8;\n"
      "fence.proxy.async.shared::cta;\nA:\n"
      "barrier.cluster.arrive.aligned;\nbarrier.cluster.wait.aligned;\n"
      "setp.lt.s32 %p2, %r0, 128; @%p2 bra C;\n@%p1 bra E;\n";
  for (int n = 0; n < 2; ++n)
    text += wait("W" + std::to_string(n), "%r12", n ^ 1) +
            "mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r1], 8192;\n"
            "mov.u32 %r17, 4096; cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster "
            "[%r15], [%d0], %r17, [%r1], 3;\n";
  text += "bra E;\nC:\nmov.u64 %d5, 0x4000004000000080; setp.eq.s32 %p4, %r0, -1; and.b32 %r18, %r0, 31;\n";
  for (int n = 0; n < 2; ++n) {
    const std::string number = std::to_string(n), done = "wgmma.wait_group.sync.aligned 0;\n";
    text += wait("R" + number, "%r1", n) + "wgmma.fence.sync.aligned;\n" +
            "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {" + sums + "}, %d5, %d5, %p4, 1, 1, 0, 0;\n" +
            "wgmma.commit_group.sync.aligned;\n" + (early ? "" : done) + "setp.ne.s32 %p3, %r18, 0; @%p3 bra N" +
            number + ";\nmbarrier.arrive.shared::cta.b64 _, [%r12];\nmapa.shared::cluster.u32 %r22, %r12, %r11;\n" +
            arrive + " _, [%r22];\nN" + number + ":\n" + (early ? done : "");
  }
  return text + "E:\nbarrier.cluster.arrive.aligned;\nbarrier.cluster.wait.aligned;\n";
}

// An arrival whose scope is the own block makes no writes visible to another block. But the other block may overwrite
// what products have read, if a warp has waited for them before it arrives.
inline void test_products_of_pairs() {
  const auto failure = [](const std::string& arrive, bool early) {
    return run_ptx(product_program(arrive, early), 160, 1024 + 8192, 2, 168, false, 2).failure;
  };
  const std::string of_block = "mbarrier.arrive.shared::cluster.b64",
                    of_cluster = "mbarrier.arrive.release.cluster.shared::cluster.b64";
  check(failure(of_block, false).empty(), "products, then arrivals of block scope", failure(of_block, false));
  check(failure(of_cluster, false).empty(), "products, then arrivals of cluster scope", failure(of_cluster, false));
  const std::string seen = failure(of_block, true);
  check(seen.find("shared memory at") != std::string::npos, "arrivals before a product has been waited for", seen);
}

// A block may end when it has waited for each arrival of the other block, at the mbarrier object of that arrival.
// Arrivals of block scope are not ordered, so the last one does not imply the others.
inline void test_ends_of_pairs() {
  const auto failure = [](const std::string& arrive, const std::string& acquire, const std::string& awaited) {
    std::string text =
        "mov.u32 %r10, %cluster_ctarank; xor.b32 %r11, %r10, 1; add.s32 %r12, %r1, 8;\n"
        "setp.ne.s32 %p1, %r0, 0; @%p1 bra A;\n"
        "mbarrier.init.shared::cta.b64 [%r1], 1; mbarrier.init.shared::cta.b64 [%r12], 1;\n"
        "A:\nbarrier.cluster.arrive.aligned;\nbarrier.cluster.wait.aligned;\n@!%p1 bra W;\n"
        "setp.ne.s32 %p2, %r0, 32; @%p2 bra E;\n"
        "mapa.shared::cluster.u32 %r13, %r1, %r11; mapa.shared::cluster.u32 %r14, %r12, %r11;\n" +
        arrive + " _, [%r13];\n" + arrive + " _, [%r14];\nbra E;\nW:\n";
    for (const char barrier : awaited)
      text += std::string("{\n.reg .pred done;\nagain:\nmbarrier.try_wait.parity") + acquire +
              ".shared::cta.b64 done, [" + (barrier == '0' ? "%r1" : "%r12") + "], 0;\n@!done bra again;\n}\n";
    return run_pair(text + "E:\n").failure;
  };
  const std::string of_block = "mbarrier.arrive.shared::cluster.b64",
                    of_cluster = "mbarrier.arrive.release.cluster.shared::cluster.b64";
  const auto expect = [](const char* name, const char* words, const std::string& seen) {
    check(*words ? seen.find(words) != std::string::npos : seen.empty(), name, seen.empty() ? "no report" : seen);
  };
  const char* const ends = "may end before an access";
  expect("waits for both arrivals", "", failure(of_block, "", "01"));
  expect("a wait for the first arrival only", ends, failure(of_block, "", "0"));
  expect("a wait for the last arrival only", ends, failure(of_block, "", "1"));
  expect("arrivals of cluster scope, and a wait of block scope", ends, failure(of_cluster, "", "1"));
  expect("a wait of cluster scope for the last arrival", "", failure(of_cluster, ".acquire.cluster", "1"));
  expect("a wait of cluster scope for the first arrival", ends, failure(of_cluster, ".acquire.cluster", "0"));
}

}  // namespace tests
}  // namespace simulator
