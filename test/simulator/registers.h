// Tests of register counts: setmaxnreg, the limits of a launch, and the counts that a cubin has.
#pragma once
#include "harness.h"
#include "simulator/machine/cubin.h"

namespace simulator {
namespace tests {

// One warpgroup releases registers for two others, as in the products of sm_90a.
inline void test_registers() {
  const auto run = [](int released, int requested, uint32_t threads, int registers) {
    const std::string dec = "setmaxnreg.dec.sync.aligned.u32 " + std::to_string(released) + "; ",
                      inc = "setmaxnreg.inc.sync.aligned.u32 " + std::to_string(requested) + ";";
    const std::string body = "setp.lt.s32 %p1, %r0, 128; @%p1 bra A; " + inc + " bra B;\nA:\n" + dec + "\nB:\n";
    return run_ptx(body, threads, 4096, 1, registers).failure;
  };
  const auto expect = [](const char* name, const char* words, const std::string& failure) {
    check(*words ? failure.find(words) != std::string::npos : failure.empty(), name, failure);
  };
  expect("registers that move between warpgroups", "", run(40, 232, 384, 168));
  expect("a request for 8 more registers", "deadlock", run(40, 240, 384, 168));
  expect("a release of 8 fewer registers", "deadlock", run(48, 232, 384, 168));
  expect("a kernel that was compiled with 8 fewer registers", "deadlock", run(40, 232, 384, 160));
  expect("a release of registers that the kernel does not have", "expected at most", run(40, 40, 256, 32));
  expect("a block with more than 65536 registers", "a block may have", run(40, 232, 512, 136));
  expect("a block with exactly 65536 registers", "", run(64, 144, 512, 128));
  check(registers_of_block(33, 33) == 2 * 40 * 32, "registers are allocated in units of 256 per warp", "");
}

// Returns the smallest file with the parts of a cubin that read_cubin reads: one symbol `k` with 168 registers.
inline std::string tiny_cubin() {
  std::string file(64, '\0');
  const auto put = [&](size_t at, auto value) { std::memcpy(&file[at], &value, sizeof value); };
  const auto add = [&](const std::string& content) {
    file += content;
    return uint64_t{file.size() - content.size()};
  };
  const std::string names("\0.nv.info\0k\0", 12);
  const uint64_t strings = add(names), symbols = add(std::string(24, '\0'));
  put(symbols, uint32_t{10});  // the name's offset
  // An attribute without a value, one with another number, and the register count.
  const uint64_t info =
      add(std::string("\x01\x54\0\0\x04\x11\x08\0\0\0\0\0\x07\0\0\0\x04\x2f\x08\0\0\0\0\0\xa8\0\0\0", 28));
  const uint64_t table = add(std::string(3 * 64, '\0'));
  const auto section = [&](uint64_t n, uint32_t name, uint32_t type, uint32_t link, uint64_t offset, uint64_t bytes) {
    put(table + n * 64, name), put(table + n * 64 + 4, type), put(table + n * 64 + 40, link);
    put(table + n * 64 + 24, offset), put(table + n * 64 + 32, bytes);
  };
  section(0, 0, 3, 0, strings, names.size());
  section(1, 0, 2, 0, symbols, 24);
  section(2, 1, 1, 0, info, 28);
  std::memcpy(&file[0],
      "\x7f"
      "ELF\x02",
      5);
  put(18, uint16_t{190}), put(40, table), put(48, uint32_t{0x6005a04}), put(60, uint16_t{3}), put(62, uint16_t{0});
  return file;
}

inline void test_cubin() {
  const auto read = [](const std::string& file) {
    return read_cubin(reinterpret_cast<const unsigned char*>(file.data()), file.size());
  };
  const auto failure = [&](const std::string& file) -> std::string {
    try {
      read(file);
    } catch (const Failure& f) {
      return f.what();
    }
    return "";
  };
  const std::string file = tiny_cubin();
  const Cubin cubin = read(file);
  check(cubin.capability == 90, "the capability of a cubin", std::to_string(cubin.capability));
  check(cubin.registers.size() == 1 && cubin.registers.count("k") && cubin.registers.at("k") == 168,
      "the registers of a kernel in a cubin", std::to_string(cubin.registers.size()));
  check(failure("\x7f"
                "ELF") != "",
      "a file that is too short for a cubin", "");
  check(failure(file.substr(0, file.size() - 40)) != "", "a cubin that was cut off", "");
}

}  // namespace tests
}  // namespace simulator
