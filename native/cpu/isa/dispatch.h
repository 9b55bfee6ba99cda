// Chooses the instruction set and registers its kernels.
#pragma once
#include <string>
#include <vector>

namespace heddle {

// Returns the instruction set in use: the highest one that this CPU and operating system support, or the one named by
// HEDDLE_ISA. The names are baseline, avx2, avxvnni, avx512, avx512bf16, amx, neon, neondot and neoni8mm. Throws
// UNSUPPORTED if the named one is unknown, not compiled in, or not supported here.
const char* cpu_isa();

// Returns every instruction set that HEDDLE_ISA may name on this machine, lowest first.
std::vector<std::string> cpu_isas();

// Adds the kernels of cpu_isa() to the registry. The registry calls it once, before its first lookup.
void register_cpu_kernels();

}  // namespace heddle
