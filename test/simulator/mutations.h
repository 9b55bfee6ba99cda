// Tests of the mutants of matrix descriptors. Each bit has a mutant, except where the hardware ignores it.
#pragma once
#include <cstdlib>
#include <set>

#include "harness.h"
#include "simulator/ptx/mutate.h"

namespace simulator {
namespace tests {

// A descriptor in %d2, of the address in %d3.
const std::string descriptor = "or.b64 %d2, %d3, 4611686293305360384;";

inline std::vector<Mutant> mutants_of_descriptor(const std::string& uses) {
  return mutants(Module(".version 9.0\n.target sm_90a\n.address_size 64\n.entry k()\n{\n.reg .pred %p<2>;\n"
                        ".reg .b32 %r<9>;\n.reg .f32 %f<9>;\n.reg .b64 %d<9>;\n" +
                        descriptor + "\n" + uses + "\nret;\n}\n"),
      "k");
}

// Checks which bits of the descriptor the mutants flip. `leading`: also those of the leading byte offset.
inline void expect_bits(const char* name, bool leading, const std::string& uses) {
  std::set<int> expected, seen;
  for (int bit = 0; bit < 64; ++bit)
    if (leading || bit < 16 || bit > 29) expected.insert(bit);
  for (const Mutant& m : mutants_of_descriptor(uses)) seen.insert(std::atoi(m.what.c_str() + 4));
  std::string bits;
  for (const int bit : seen) bits += " " + std::to_string(bit);
  check(seen == expected, name, "bits" + bits);
}

inline void test_mutants_of_descriptors() {
  // A product whose operands are `operands`, with N columns.
  const auto product = [](const std::string& operands, int N = 128) {
    return "wgmma.mma_async.sync.aligned.m64n" + std::to_string(N) + "k16.f32.bf16.bf16 {%f0}, " + operands + ";\n";
  };
  const std::string k_major = product("%d2, %d2, %p1, 1, 1, 0, 0"), mn_major = product("%d4, %d2, %p1, 1, 1, 0, 1");
  const std::string left = "{%r0, %r1, %r2, %r3}";
  expect_bits("K-major operands have no leading byte offset", false, k_major);
  expect_bits("MN-major b of 128 columns", true, mn_major);
  expect_bits("MN-major b of 96 columns", true, product("%d4, %d2, %p1, 1, 1, 0, 1", 96));
  expect_bits("MN-major b of 64 columns", false, product("%d4, %d2, %p1, 1, 1, 0, 1", 64));
  expect_bits("K-major b of 256 columns, with MN-major a", false, product("%d4, %d2, %p1, 1, 1, 1, 0", 256));
  expect_bits("MN-major a, which has 64 rows", false, product("%d2, %d4, %p1, 1, 1, 1, 1"));
  expect_bits("MN-major b, with a in registers", true, product(left + ", %d2, %p1, 1, 1, 1"));
  expect_bits("K-major b, with a in registers", false, product(left + ", %d2, %p1, 1, 1, 0"));
  expect_bits("e4m3 operands, which are K-major", false,
      "wgmma.mma_async.sync.aligned.m64n128k32.f32.e4m3.e4m3 {%f0}, %d2, %d2, %p1, 1, 1;");
  expect_bits("a K-major and an MN-major product", true, k_major + mn_major);
  expect_bits("an MN-major operand at a later k", true,
      "add.s64 %d5, %d2, 2;\nmov.u64 %d4, %d5;\n" + product("%d6, %d4, %p1, 1, 1, 0, 1"));
  expect_bits("a K-major operand at a later k", false, "add.s64 %d4, %d2, 2;\n" + product("%d4, %d4, %p1, 1, 1, 0, 0"));
  expect_bits("a descriptor in memory, whose products are unknown", true, k_major + "st.global.u64 [%d4], %d2;");
  expect_bits("a descriptor in a vector", true, k_major + "st.global.v2.u64 [%d4], {%d2, %d2};");

  // Bit 7 of the address is set.
  for (const Mutant& m : mutants_of_descriptor(k_major))
    if (m.what.compare(0, 6, "bit 7 ") == 0) {
      const std::string planted = descriptor + m.edits.at(0).replacement;
      const Result r = run_ptx("mov.u64 %d3, 192; " + planted + " st.global.u64 [%d0], %d2;", 1);
      check(r.failure.empty() && r.out[0] == 0x10040 && r.out[1] == 0x40000040, "a mutant clears a bit of the address",
          r.failure.empty() ? std::to_string(r.out[0]) + " " + std::to_string(r.out[1]) : r.failure);
      return;
    }
  check(false, "a mutant clears a bit of the address", "bit 7 has no mutant");
}

// Checks how many descriptors each mutant of bit 7 changes.
inline void expect_edits(const char* name, const std::vector<size_t>& expected, const std::string& uses) {
  std::vector<size_t> seen;
  for (const Mutant& m : mutants_of_descriptor(uses))
    if (m.what.compare(0, 6, "bit 7 ") == 0) seen.push_back(m.edits.size());
  std::string counts;
  for (const size_t count : seen) counts += " " + std::to_string(count);
  check(seen == expected, name, "edits" + counts);
}

inline void test_copies_of_descriptors() {
  const auto product = [](const std::string& a, const std::string& b) {
    return "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {%f0}, " + a + ", " + b + ", %p1, 1, 1, 0, 0;\n";
  };
  const std::string copy = "or.b64 %d4, %d3, 4611686293305360384;\n";
  expect_edits("a mutant changes all copies of an operand's descriptor", {2},
      copy + product("%d2", "%d6") + product("%d4", "%d6"));
  expect_edits("a and b have mutants of their own", {1, 1}, copy + product("%d2", "%d4"));
  expect_edits("descriptors with other constants have mutants of their own", {1, 1},
      "or.b64 %d4, %d3, 4611686293305360385;\n" + product("%d2", "%d6") + product("%d4", "%d6"));
}

}  // namespace tests
}  // namespace simulator
