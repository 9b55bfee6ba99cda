// Quantized element types. A row consists of whole blocks, and a block holds small integers with shared scales. Layouts
// and names are ggml's, so that weights have the same layout in memory as in a GGUF file.
//
// To add a type: add a row here, its unpack function in native/ops/unpack-inl.h, and its row in lib/graph/dtype.ts, in
// the same order.
#pragma once

// name, elements and bytes of a block, elements that share a scale, whether a minimum is added, range of the integers:
//   element = scale(group) * integer(element) [+ minimum(group)]
#define HEDDLE_BLOCK_TYPES(X) \
  X(q8_0, 32, 34, 32, false, -128, 127) \
  X(q4_0, 32, 18, 32, false, -8, 7) \
  X(q4_1, 32, 20, 32, true, 0, 15) \
  X(q5_0, 32, 22, 32, false, -16, 15) \
  X(q5_1, 32, 24, 32, true, 0, 31) \
  X(q2_k, 256, 84, 16, true, 0, 3) \
  X(q3_k, 256, 110, 16, false, -4, 3) \
  X(q4_k, 256, 144, 32, true, 0, 15) \
  X(q5_k, 256, 176, 32, true, 0, 31) \
  X(q6_k, 256, 210, 16, false, -32, 31) \
  X(iq4_nl, 32, 18, 32, false, -127, 113) \
  X(iq4_xs, 256, 136, 32, false, -127, 113) \
  X(mxfp4, 32, 17, 32, false, -12, 12)
