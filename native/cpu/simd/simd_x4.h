// Four float lanes in GCC vector extensions: SSE2 on x86-64 (the baseline) and NEON on aarch64.
// Included by simd.h inside the namespace of the instruction set.

constexpr int W = 4;
using F = float __attribute__((vector_size(16)));
using I = int32_t __attribute__((vector_size(16)));
using U = uint32_t __attribute__((vector_size(16)));

HEDDLE_SIMD F zero() { return F{}; }
HEDDLE_SIMD F set1(float v) { return F{v, v, v, v}; }
#ifdef __aarch64__
// GCC would move a memcpy of a vector through two general registers.
HEDDLE_SIMD F load(const float* p) { return reinterpret_cast<F>(vld1q_f32(p)); }
HEDDLE_SIMD void store(float* p, F v) { vst1q_f32(p, reinterpret_cast<float32x4_t>(v)); }
#else
HEDDLE_SIMD F load(const float* p) {
  F v;
  __builtin_memcpy(&v, p, 16);
  return v;
}
HEDDLE_SIMD void store(float* p, F v) { __builtin_memcpy(p, &v, 16); }
#endif

HEDDLE_SIMD F add(F a, F b) { return a + b; }
HEDDLE_SIMD F sub(F a, F b) { return a - b; }
HEDDLE_SIMD F mul(F a, F b) { return a * b; }
HEDDLE_SIMD F div(F a, F b) { return a / b; }
HEDDLE_SIMD F select(I mask, F x, F y) {
  return reinterpret_cast<F>((mask & reinterpret_cast<I>(x)) | (~mask & reinterpret_cast<I>(y)));
}
HEDDLE_SIMD F select_lt(F a, F b, F x, F y) { return select(a < b, x, y); }
HEDDLE_SIMD F abs(F a) { return reinterpret_cast<F>(reinterpret_cast<I>(a) & 0x7fffffff); }

#ifdef __aarch64__
HEDDLE_SIMD F fma(F a, F b, F c) {
  return reinterpret_cast<F>(
      vfmaq_f32(reinterpret_cast<float32x4_t>(c), reinterpret_cast<float32x4_t>(a), reinterpret_cast<float32x4_t>(b)));
}
HEDDLE_SIMD F fnma(F a, F b, F c) {
  return reinterpret_cast<F>(
      vfmsq_f32(reinterpret_cast<float32x4_t>(c), reinterpret_cast<float32x4_t>(a), reinterpret_cast<float32x4_t>(b)));
}
HEDDLE_SIMD F sqrt(F a) { return reinterpret_cast<F>(vsqrtq_f32(reinterpret_cast<float32x4_t>(a))); }
HEDDLE_SIMD F round_even(F a) { return reinterpret_cast<F>(vrndnq_f32(reinterpret_cast<float32x4_t>(a))); }
HEDDLE_SIMD F max(F a, F b) { return select_lt(b, a, a, b); }  // returns b if either is NaN
HEDDLE_SIMD F min(F a, F b) { return select_lt(a, b, a, b); }
#else
HEDDLE_SIMD F fma(F a, F b, F c) { return a * b + c; }
HEDDLE_SIMD F fnma(F a, F b, F c) { return c - a * b; }
HEDDLE_SIMD F max(F a, F b) { return select_lt(b, a, a, b); }
HEDDLE_SIMD F min(F a, F b) { return select_lt(a, b, a, b); }
#ifdef __SSE2__
HEDDLE_SIMD F sqrt(F a) { return reinterpret_cast<F>(_mm_sqrt_ps(reinterpret_cast<__m128>(a))); }
#else
HEDDLE_SIMD F sqrt(F a) {
  return F{__builtin_sqrtf(a[0]), __builtin_sqrtf(a[1]), __builtin_sqrtf(a[2]), __builtin_sqrtf(a[3])};
}
#endif
// Adding and subtracting 1.5 * 2^23 rounds to the nearest even integer for |a| < 2^22.
HEDDLE_SIMD F round_even(F a) {
  F magic = set1(12582912.0f);
  F shifted = a + magic;
  asm("" : "+x"(shifted));  // keeps the compiler from removing the addition and subtraction
  return shifted - magic;
}
#endif

// Returns p * 2^n for integers n in [-150, 129], in two steps so that results may be subnormal.
HEDDLE_SIMD F scale2(F p, F n) {
  I whole = __builtin_convertvector(n, I), half = whole >> 1, rest = whole - half;
  return p * reinterpret_cast<F>((half + 127) << 23) * reinterpret_cast<F>((rest + 127) << 23);
}
// Moves the low 8 bits of t into the exponent field (see exp_nonpositive).
HEDDLE_SIMD F shift_exponent(F t) { return reinterpret_cast<F>(reinterpret_cast<I>(t) << 23); }
HEDDLE_SIMD float reduce_add(F v) { return (v[0] + v[2]) + (v[1] + v[3]); }
HEDDLE_SIMD float reduce_max(F v) {
  float a = v[0] > v[1] ? v[0] : v[1], b = v[2] > v[3] ? v[2] : v[3];
  return a > b ? a : b;
}

HEDDLE_SIMD F load(const int8_t* p) {
  return F{static_cast<float>(p[0]), static_cast<float>(p[1]), static_cast<float>(p[2]), static_cast<float>(p[3])};
}
// Stores the low byte of each integer.
HEDDLE_SIMD void store_bytes(uint8_t* p, F v) {
  const I whole = __builtin_convertvector(v, I);
  for (int i = 0; i < 4; ++i) p[i] = static_cast<uint8_t>(whole[i]);
}
#ifdef __aarch64__
HEDDLE_SIMD F load(const bf16* p) {
  return reinterpret_cast<F>(vshll_n_u16(vld1_u16(reinterpret_cast<const uint16_t*>(p)), 16));
}
#else
HEDDLE_SIMD F load(const bf16* p) {
  uint16_t h[4];
  __builtin_memcpy(h, p, 8);
  U u = {h[0], h[1], h[2], h[3]};
  return reinterpret_cast<F>(u << 16);
}
#endif
#if defined(HEDDLE_SIMD_BF16)
HEDDLE_SIMD bfloat16x4_t round_bf16(F v) { return vcvt_bf16_f32(reinterpret_cast<float32x4_t>(v)); }
HEDDLE_SIMD void store(bf16* p, F v) { vst1_bf16(reinterpret_cast<bfloat16_t*>(p), round_bf16(v)); }
#else
HEDDLE_SIMD void store(bf16* p, F v) {
  // Adding 0x7fff plus the lowest kept bit rounds to the nearest even. NaNs keep their high half and become quiet.
  U u = reinterpret_cast<U>(v);
  U rounded = (u + 0x7fff + ((u >> 16) & 1)) >> 16;
  U nan = (u >> 16) | 0x40;
  U is_nan = reinterpret_cast<U>((u & 0x7fffffff) > 0x7f800000);
  U r = (is_nan & nan) | (~is_nan & rounded);
  uint16_t h[4] = {static_cast<uint16_t>(r[0]), static_cast<uint16_t>(r[1]), static_cast<uint16_t>(r[2]),
      static_cast<uint16_t>(r[3])};
  __builtin_memcpy(p, h, 8);
}
#endif
#ifdef __aarch64__
HEDDLE_SIMD F load(const f16* p) { return reinterpret_cast<F>(vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(&p->bits)))); }
HEDDLE_SIMD void store(f16* p, F v) {
  vst1_u16(&p->bits, vreinterpret_u16_f16(vcvt_f16_f32(reinterpret_cast<float32x4_t>(v))));
}
#else
HEDDLE_SIMD F load(const f16* p) {
  uint16_t h[4];
  __builtin_memcpy(h, p, 8);
  U u = {h[0], h[1], h[2], h[3]};
  U sign = (u & 0x8000) << 16, body = (u & 0x7fff) << 13;
  // Multiplying by 2^112 adjusts the exponent bias and normalizes subnormal halves. Infinities and NaN keep all
  // exponent bits.
  F scaled = reinterpret_cast<F>(body) * set1(5.192296858534828e33f);
  I special = reinterpret_cast<I>((u & 0x7c00) == 0x7c00);
  U r = reinterpret_cast<U>(select(special, reinterpret_cast<F>(body | 0x7f800000), scaled));
  return reinterpret_cast<F>(r | sign);
}
HEDDLE_SIMD void store(f16* p, F v) {
  for (int i = 0; i < 4; ++i) {
    uint32_t u = reinterpret_cast<U>(v)[i], sign = (u >> 16) & 0x8000, a = u & 0x7fffffff, r;
    if (a > 0x7f800000) {
      r = 0x7e00 | ((a >> 13) & 0x1ff);
    } else if (a >= 0x477ff000) {
      r = 0x7c00;                 // 65520 and above round to infinity
    } else if (a < 0x38800000) {  // subnormal half: adding 0.5 leaves the rounded multiple of 2^-24 in the low bits
      float f;
      __builtin_memcpy(&f, &a, 4);
      f += 0.5f;
      __builtin_memcpy(&r, &f, 4);
      r -= 0x3f000000;
    } else {
      r = (a - 0x38000000 + 0xfff + ((a >> 13) & 1)) >> 13;
    }
    p[i].bits = static_cast<uint16_t>(sign | r);
  }
}
#endif

HEDDLE_SIMD F load_n(const float* p, int n) {
  float t[4] = {};
  for (int i = 0; i < n; ++i) t[i] = p[i];
  return load(t);
}
HEDDLE_SIMD void store_n(float* p, F v, int n) {
  for (int i = 0; i < n; ++i) p[i] = v[i];
}

HEDDLE_SIMD void transpose(F (&r)[4]) {
  F a = __builtin_shufflevector(r[0], r[1], 0, 4, 1, 5), b = __builtin_shufflevector(r[0], r[1], 2, 6, 3, 7);
  F c = __builtin_shufflevector(r[2], r[3], 0, 4, 1, 5), d = __builtin_shufflevector(r[2], r[3], 2, 6, 3, 7);
  r[0] = __builtin_shufflevector(a, c, 0, 1, 4, 5);
  r[1] = __builtin_shufflevector(a, c, 2, 3, 6, 7);
  r[2] = __builtin_shufflevector(b, d, 0, 1, 4, 5);
  r[3] = __builtin_shufflevector(b, d, 2, 3, 6, 7);
}

HEDDLE_SIMD U load_bits(const bf16* p) {
  U v;
  __builtin_memcpy(&v, p, 16);
  return v;
}
// load_even returns elements 0, 2, … of 2 W bf16, load_odd elements 1, 3, …. Both rely on little-endian order.
HEDDLE_SIMD F load_even(const bf16* p) { return reinterpret_cast<F>(load_bits(p) << 16); }
HEDDLE_SIMD F load_odd(const bf16* p) { return reinterpret_cast<F>(load_bits(p) & 0xffff0000u); }
