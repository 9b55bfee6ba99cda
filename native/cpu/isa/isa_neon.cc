// Four lanes with NEON's fused multiply-add, half conversions and 32 registers. On other architectures the file is
// empty.
#if defined(__aarch64__)
#define HEDDLE_ISA isa_neon
#include "cpu/isa/isa-inl.h"
HEDDLE_KERNEL_TABLE(neon, "neon")
#endif
