// Runs a few lines of PTX on the simulator, and checks the result or the report.
#pragma once
#include <cstdio>
#include <string>
#include <vector>

#include "simulator/machine/decode.h"
#include "simulator/machine/memory.h"

namespace simulator {
namespace tests {

// The result of a kernel: the content of its output array, and the message of its failure, or "".
struct Result {
  std::vector<uint32_t> out;
  std::string failure;
};

// Runs `body` with `blocks` blocks of `threads` threads. The shared variable `s` has `shared` bytes. %r0 is %tid.x. %r1
// and %d0 are the addresses of s and of the output array, which has 1024 words. %r2 and %d1 are the addresses of the
// thread's word in each.
// `registers` is the count that a cubin would have. `waits` is Launch::waits. A cluster has `cluster` blocks.
inline Result run_ptx(const std::string& body, uint32_t threads, uint32_t shared = 4096, uint32_t blocks = 1,
    int registers = 168, bool waits = false, uint32_t cluster = 1) {
  const std::string text =
      ".version 9.0\n.target sm_90a\n.address_size 64\n.entry k(\n.param .u64 out\n)\n{\n"
      ".reg .pred %p<9>;\n.reg .b16 %h<9>;\n.reg .b32 %r<99>;\n.reg .f32 %f<99>;\n.reg .b64 %d<19>;\n"
      ".shared .align 1024 .b8 s[" +
      std::to_string(shared) +
      "];\n"
      "ld.param.u64 %d0, [out];\nmov.u32 %r0, %tid.x;\nmul.wide.u32 %d1, %r0, 4;\nadd.s64 %d1, %d0, %d1;\n"
      "mov.u32 %r1, s;\nshl.b32 %r2, %r0, 2;\nadd.s32 %r2, %r1, %r2;\n" +
      body + "\nret;\n}\n";
  constexpr size_t words = 1024;
  void* out = memory::allocate(words * 4, memory::Kind::device);
  std::memset(out, 0, words * 4);
  Result result;
  try {
    const Module module(text);
    const auto function = module.parse("k");
    const auto kernel = Decoder(module, *function).decode();
    Launch launch;
    kernel->registers = registers;
    launch.kernel = kernel.get();
    launch.grid.x = blocks, launch.threads.x = threads, launch.cluster.x = cluster;
    launch.waits = waits;
    launch.parameters.resize(8);
    std::memcpy(launch.parameters.data(), &out, 8);
    run(launch);
  } catch (const Failure& failure) {
    result.failure = failure.what();
  }
  result.out.assign(static_cast<uint32_t*>(out), static_cast<uint32_t*>(out) + words);
  memory::release(out, memory::Kind::device);
  return result;
}

inline int failures = 0;
inline void check(bool holds, const std::string& name, const std::string& seen) {
  if (holds) return;
  std::printf("FAILED %s: %s\n", name.c_str(), seen.c_str());
  ++failures;
}

// Checks that `body` fails with a message that contains `words`.
inline void reports(
    const char* name, const char* words, const std::string& body, uint32_t threads = 32, uint32_t blocks = 1) {
  const Result r = run_ptx(body, threads, 4096, blocks);
  check(r.failure.find(words) != std::string::npos, name, r.failure.empty() ? "nothing was reported" : r.failure);
}
// Checks that `body` runs without a report.
inline void accepts(const char* name, const std::string& body, uint32_t threads = 32) {
  const Result r = run_ptx(body, threads);
  check(r.failure.empty(), name, r.failure);
}
// Checks that `body` leaves these bits in %r9 of thread 5.
inline void computes(const char* name, uint32_t bits, const std::string& body) {
  const Result r = run_ptx(body + "\nst.global.u32 [%d1], %r9;", 32);
  char seen[64];
  std::snprintf(seen, sizeof seen, "expected %08x, got %08x ", bits, r.out[5]);
  check(r.failure.empty() && r.out[5] == bits, name, seen + r.failure);
}

}  // namespace tests
}  // namespace simulator
