// The table of one instruction set, from the algorithms compiled in its namespace.
#pragma once
#include "cpu/kernels.h"
#include "cpu/gemm-inl.h"

#define HEDDLE_KERNEL_TABLE(isa, label)                                                             \
  namespace heddle {                                                                                \
  namespace cpu {                                                                                   \
  const Kernels kernels_##isa = {                                                                   \
      label, HEDDLE_ISA::gemm_scratch, HEDDLE_ISA::gemm}; \
  }                                                                                                 \
  }
