// The instruction sets that an x86-64 processor has and whose registers the system saves.
#pragma once
#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>

namespace heddle {

// Executes CPUID itself. __builtin_cpu_supports needs a table that the runtime library of some compilers lacks, and its
// names depend on the compiler's version.
struct X86Features {
  bool sse42 = false;
  bool avx2 = false;  // with FMA and F16C
  bool avxvnni = false;
  bool avx512 = false;  // F, BW, VL, DQ and VNNI
  bool avx512bf16 = false;
  bool amx = false;  // tiles of bf16, with AVX512-VBMI. The process still needs permission.

  X86Features() {
    const Registers basic(1, 0), extended(7, 0), more(7, 1);
    sse42 = bit(basic.ecx, 20);
    if (!bit(basic.ecx, 27)) return;  // OSXSAVE
    const unsigned saved = saved_registers();
    // Bits of XCR0: SSE and AVX state, and for zmm also masks, upper halves and registers 16 to 31.
    constexpr unsigned ymm = 0x6, zmm = 0xe6;
    if ((saved & ymm) != ymm) return;
    // AVX, AVX2, FMA and F16C.
    avx2 = bit(basic.ecx, 28) && bit(extended.ebx, 5) && bit(basic.ecx, 12) && bit(basic.ecx, 29);
    avxvnni = avx2 && bit(more.eax, 4);
    if ((saved & zmm) != zmm) return;
    // F, BW, VL, DQ and VNNI.
    avx512 = avx2 && bit(extended.ebx, 16) && bit(extended.ebx, 30) && bit(extended.ebx, 31) && bit(extended.ebx, 17) &&
             bit(extended.ecx, 11);
    avx512bf16 = avx512 && bit(more.eax, 5);
    // AMX-BF16, AMX-TILE and AVX512-VBMI.
    amx = avx512bf16 && bit(extended.edx, 22) && bit(extended.edx, 24) && bit(extended.ecx, 1);
  }

 private:
  struct Registers {
    unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
    Registers(unsigned leaf, unsigned subleaf) { __get_cpuid_count(leaf, subleaf, &eax, &ebx, &ecx, &edx); }
  };
  static bool bit(unsigned word, int number) { return word >> number & 1; }
  // Returns the low half of XCR0. Its bits show which registers the system saves.
  static unsigned saved_registers() {
    unsigned low, high;
    asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
  }
};

}  // namespace heddle
#endif
