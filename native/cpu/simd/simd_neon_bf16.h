// Dot products of bfloat16 pairs on arm64 (BFDOT). Included by simd.h inside the namespace of the instruction set.
//
// BFDOT and BFMMLA round sums to odd and treat subnormals as zero. Products are exact, and a sum has 16 more bits than
// a bf16 operand. Rounding sums to odd therefore errs far less than rounding the operands to bf16. The tolerances in
// test/ops/cases allow for the rounding of operands.

HEDDLE_SIMD bfloat16x8_t pairs_of(F v) { return reinterpret_cast<bfloat16x8_t>(v); }

// Returns acc + the two products of bf16 pairs in each 32-bit lane. a and b hold bits, not floats.
HEDDLE_SIMD F dot_pairs(F a, F b, F acc) {
  return reinterpret_cast<F>(vbfdotq_f32(reinterpret_cast<float32x4_t>(acc), pairs_of(a), pairs_of(b)));
}
// Like dot_pairs, for 2 x 2 blocks (BFMMLA). Each operand has two lines of two pairs: acc(i, j) += line i of a times
// line j of b. Adds the products of first pairs before those of second pairs, so the bits equal those of two dot_pairs
// calls.
HEDDLE_SIMD F multiply_blocks(F a, F b, F acc) {
  return reinterpret_cast<F>(vbfmmlaq_f32(reinterpret_cast<float32x4_t>(acc), pairs_of(a), pairs_of(b)));
}
// Returns the first two lanes of a, then those of b. last_halves takes the last two lanes.
HEDDLE_SIMD F first_halves(F a, F b) { return __builtin_shufflevector(a, b, 0, 1, 4, 5); }
HEDDLE_SIMD F last_halves(F a, F b) { return __builtin_shufflevector(a, b, 2, 3, 6, 7); }
// Interleaves the first two lanes of a and b. zip_last interleaves the last two.
HEDDLE_SIMD F zip_first(F a, F b) { return __builtin_shufflevector(a, b, 0, 4, 1, 5); }
HEDDLE_SIMD F zip_last(F a, F b) { return __builtin_shufflevector(a, b, 2, 6, 3, 7); }

// Loads W pairs of neighboring elements as bits. load_pairs_n loads only the first n elements; the rest are zeros.
HEDDLE_SIMD F load_pairs(const bf16* p) { return load(reinterpret_cast<const float*>(p)); }
HEDDLE_SIMD F load_pairs_n(const bf16* p, int64_t n) {
  if (n >= 2 * W) return load_pairs(p);
  bf16 t[2 * W] = {};
  for (int64_t i = 0; i < n; ++i) t[i] = p[i];
  return load_pairs(t);
}
// Returns (low[i], high[i]) as a pair in lane i.
HEDDLE_SIMD F join_halves(uint16x4_t low, uint16x4_t high) {
  return reinterpret_cast<F>(vzip1q_u16(vcombine_u16(low, low), vcombine_u16(high, high)));
}
HEDDLE_SIMD uint16x4_t load16(const bf16* p) { return vld1_u16(reinterpret_cast<const uint16_t*>(p)); }
HEDDLE_SIMD uint16x4_t load16_n(const bf16* p, int n) {
  bf16 t[W] = {};
  for (int i = 0; i < n; ++i) t[i] = p[i];
  return load16(t);
}
HEDDLE_SIMD F join_pairs(const bf16* low, const bf16* high) { return join_halves(load16(low), load16(high)); }
HEDDLE_SIMD F join_pairs_n(const bf16* low, const bf16* high, int n) {  // high may be null: zeros
  return join_halves(load16_n(low, n), high ? load16_n(high, n) : vdup_n_u16(0));
}
// Rounds floats to bf16 and joins them like join_halves.
HEDDLE_SIMD F join_rounded(F low, F high) {
  return join_halves(vreinterpret_u16_bf16(round_bf16(low)), vreinterpret_u16_bf16(round_bf16(high)));
}
// Rounds 2 W consecutive floats (low, then high) to bf16 and pairs neighbors.
HEDDLE_SIMD F rounded_pairs(F low, F high) {
  const bfloat16x8_t first = vcvtq_low_bf16_f32(reinterpret_cast<float32x4_t>(low));
  return reinterpret_cast<F>(vcvtq_high_bf16_f32(first, reinterpret_cast<float32x4_t>(high)));
}
