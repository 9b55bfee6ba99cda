// Tests the results of single instructions against their descriptions in the manual.
#pragma once
#include "harness.h"

namespace simulator {
namespace tests {

inline void test_instructions() {
  computes("shr clamps its amount", 0xffffffff, "mov.u32 %r3, 0x80000000; mov.u32 %r4, 99; shr.s32 %r9, %r3, %r4;");
  computes("shl clamps its amount", 0, "mov.u32 %r3, 1; mov.u32 %r4, 32; shl.b32 %r9, %r3, %r4;");
  computes("shf.r.wrap takes bits of both words", 0x78123456,
      "mov.u32 %r3, 0x12345678; mov.u32 %r4, 0x12345678; shf.r.wrap.b32 %r9, %r3, %r4, 40;");
  computes("prmt selects bytes and replicates signs", 0xff0188ff,
      "mov.u32 %r3, 0x000000ff; mov.u32 %r4, 0x88000001; prmt.b32 %r9, %r3, %r4, 0xf470;");
  computes("bfi inserts a bit field", 0xfffff5ff, "mov.u32 %r3, 5; mov.u32 %r4, -1; bfi.b32 %r9, %r3, %r4, 8, 4;");
  computes("bfe extends the sign", 0xfffffffd, "mov.u32 %r3, 0x00000d00; bfe.s32 %r9, %r3, 8, 4;");
  computes("mul.hi returns the upper half of a signed product", 0xffffffff,
      "mov.u32 %r3, -2; mov.u32 %r4, 3; mul.hi.s32 %r9, %r3, %r4;");
  computes("dp4a adds products of signed bytes", 0xfffffffb,
      "mov.u32 %r3, 0x01ff02fe; mov.u32 %r4, 0x01010301; dp4a.s32.s32 %r9, %r3, %r4, -9;");
  computes("a conversion to integers clamps", 0x7fffffff, "mov.f32 %f1, 0f50000000; cvt.rzi.s32.f32 %r9, %f1;");
  computes("a conversion of NaN gives 0", 0, "mov.f32 %f1, 0f7FC00000; cvt.rzi.s32.f32 %r9, %f1;");
  computes("cvt.rni rounds to even", 2, "mov.f32 %f1, 0f40200000; cvt.rni.f32.f32 %f2, %f1; cvt.rzi.s32.f32 %r9, %f2;");
  computes("cvt.rn.bf16x2 puts its first operand in the upper half", 0x40003f80,
      "mov.f32 %f1, 0f40000000; mov.f32 %f2, 0f3F800000; cvt.rn.bf16x2.f32 %r9, %f1, %f2;");
  computes("cvt.rn.bf16 rounds ties to even", 0x3f80,
      "mov.f32 %f1, 0f3F808000; cvt.rn.bf16.f32 %h1, %f1; cvt.u32.u16 %r9, %h1;");
  computes(
      "cvt.rn.f16 has subnormal results", 1, "mov.f32 %f1, 0f33800000; cvt.rn.f16.f32 %h1, %f1; cvt.u32.u16 %r9, %h1;");
  computes(
      "cvt.rna.tf32 rounds ties away from zero", 0x3f802000, "mov.f32 %f1, 0f3F801000; cvt.rna.tf32.f32 %r9, %f1;");
  computes("a conversion from a wider register takes its lower bits", 0xffffffff,
      "mov.u64 %d3, 0x1ffffffff; cvt.s64.s32 %d4, %d3; shr.u64 %d4, %d4, 32; cvt.u32.u64 %r9, %d4;");
  computes("fma.rm rounds down", 0xbf800001,
      "mov.f32 %f1, 0fB3000000; mov.f32 %f2, 0f3F800000; mov.f32 %f3, 0fBF800000; fma.rm.f32 %f4, %f1, %f2, %f3; "
      "mov.b32 %r9, %f4;");
  computes("add.rz rounds towards zero", 0x3f800000,
      "mov.f32 %f1, 0f3F800000; mov.f32 %f2, 0f33FFFFFF; add.rz.f32 %f4, %f1, %f2; mov.b32 %r9, %f4;");
  computes("add.rz of two large numbers is the largest finite number", 0x7f7fffff,
      "mov.f32 %f1, 0f7F7FFFFF; add.rz.f32 %f4, %f1, %f1; mov.b32 %r9, %f4;");
  computes("fma.rm of two large numbers is the largest finite number", 0x7f7fffff,
      "mov.f32 %f1, 0f7F7FFFFF; mov.f32 %f2, 0f40000000; mov.f32 %f3, 0f00000000; fma.rm.f32 %f4, %f1, %f2, %f3; "
      "mov.b32 %r9, %f4;");
  computes("max prefers a number to NaN", 0x3f800000,
      "mov.f32 %f1, 0f7FC00000; mov.f32 %f2, 0f3F800000; max.f32 %f4, %f1, %f2; mov.b32 %r9, %f4;");
  computes("copysign takes the sign of its first operand", 0xbf800000,
      "mov.f32 %f1, 0f80000000; mov.f32 %f2, 0f3F800000; copysign.f32 %f4, %f1, %f2; mov.b32 %r9, %f4;");
  computes("an ordered comparison with NaN is false", 0,
      "mov.f32 %f1, 0f7FC00000; setp.ne.f32 %p1, %f1, %f1; selp.b32 %r9, 1, 0, %p1;");
  computes("an unordered comparison with NaN is true", 1,
      "mov.f32 %f1, 0f7FC00000; setp.ltu.f32 %p1, %f1, %f1; selp.b32 %r9, 1, 0, %p1;");
  computes("shfl.up reads the lane below", 4,
      "mov.u32 %r3, 1; mov.u32 %r4, 0; mov.u32 %r5, -1; shfl.sync.up.b32 %r9, %r0, %r3, %r4, %r5;");
  computes("shfl.bfly stays within segments of 8", 5,
      "mov.u32 %r3, 8; mov.u32 %r4, 0x1807; mov.u32 %r5, -1; shfl.sync.bfly.b32 %r9, %r0, %r3, %r4, %r5;");
  computes("vote.ballot collects the predicates of all lanes", 0xaaaaaaaa,
      "and.b32 %r3, %r0, 1; setp.eq.s32 %p1, %r3, 1; vote.sync.ballot.b32 %r9, %p1, -1;");
  computes("diverged lanes reconverge", 7,
      "setp.lt.s32 %p1, %r0, 16; @%p1 bra A; mov.u32 %r3, 1; bra B;\nA:\nmov.u32 %r3, 2;\nB:\n"
      "mov.u32 %r4, -1; shfl.sync.idx.b32 %r5, %r3, 31, 31, %r4; mul.lo.s32 %r3, %r3, 3; add.s32 %r9, %r3, %r5;");
  computes("each lane leaves a loop by its own condition", 15,
      "mov.u32 %r9, 0; mov.u32 %r3, %r0;\nL:\nadd.s32 %r9, %r9, %r3; sub.s32 %r3, %r3, 1; setp.gt.s32 %p1, %r3, 0; "
      "@%p1 bra L;");
}

}  // namespace tests
}  // namespace simulator
