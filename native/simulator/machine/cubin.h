// Reads what ptxas wrote about each kernel into a cubin, an ELF file. "CUDA Binary Utilities" describes the tools that
// print the same. The numbers of the ELF attributes were found by compiling kernels
// with known register counts.
#pragma once
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>

namespace simulator {

struct Cubin {
  int capability = 0;                    // 80, 90
  std::map<std::string, int> registers;  // registers per thread of each kernel
};
// Throws Failure if the bytes are not a cubin.
Cubin read_cubin(const unsigned char* data, size_t bytes);

constexpr int block_registers = 65536;  // the most registers of a block ("Technical Specifications")
// Returns the registers that a block takes. A warp gets units of 256 registers, so counts are rounded up to 8.
int registers_of_block(int registers, uint64_t threads);

}  // namespace simulator
