// Four lanes with the compiler's default flags: SSE2 on x86-64. On aarch64 NEON is the baseline (isa_neon.cc).
#if !defined(__aarch64__)
#define HEDDLE_ISA isa_baseline
#include "cpu/isa/isa-inl.h"
HEDDLE_KERNEL_TABLE(baseline, "baseline")
#endif
