// Unpacks the blocks of each quantized type into integers, scales and minima (see block_types.h). Included inside a
// namespace that the including file chooses, so that every instruction set compiles its own copy.
// Layouts: ggml's ggml-common.h; MXFP4 also in the OCP Microscaling Formats specification 1.0 (2023).

#define HEDDLE_UNPACK [[gnu::always_inline]] static inline

HEDDLE_UNPACK float half_at(const uint8_t* p) {
  uint16_t bits;
  __builtin_memcpy(&bits, p, 2);
#if defined(__F16C__)
  return _cvtsh_ss(bits);
#else
  return ::heddle::to_float(f16{bits});
#endif
}

// Unpacks a block into integers (one per element), scales and minima (one per group). Writes `minimum` only for types
// that have one.
template <DType T> struct Unpack;

// Vector extension of the compiler. Every supported processor has vectors of 16 bytes.
using Sixteen = uint8_t __attribute__((vector_size(16)));
HEDDLE_UNPACK Sixteen sixteen_at(const uint8_t* p) {
  Sixteen v;
  __builtin_memcpy(&v, p, 16);
  return v;
}
HEDDLE_UNPACK void put(Sixteen v, int8_t* q) { __builtin_memcpy(q, &v, 16); }

// Unpacks 16 * N bytes of two nibbles each, and subtracts `offset`. The low nibbles are elements 0 to 16 N - 1, and the
// high nibbles are the next 16 N.
template <int N> HEDDLE_UNPACK void low_then_high(const uint8_t* nibbles, int offset, int8_t* q) {
  for (int i = 0; i < N; ++i) {
    const Sixteen v = sixteen_at(nibbles + 16 * i);
    put((v & 15) - static_cast<uint8_t>(offset), q + 16 * i);
    put((v >> 4) - static_cast<uint8_t>(offset), q + 16 * (N + i));
  }
}

template <> struct Unpack<DType::q8_0> {
  static inline void run(const uint8_t* b, int8_t* q, float* scale, float*) {
    *scale = half_at(b);
    __builtin_memcpy(q, b + 2, 32);
  }
};

template <> struct Unpack<DType::q4_0> {
  static inline void run(const uint8_t* b, int8_t* q, float* scale, float*) {
    *scale = half_at(b);
    low_then_high<1>(b + 2, 8, q);
  }
};

template <> struct Unpack<DType::q4_1> {
  static inline void run(const uint8_t* b, int8_t* q, float* scale, float* minimum) {
    *scale = half_at(b), *minimum = half_at(b + 2);
    low_then_high<1>(b + 4, 0, q);
  }
};

// Adds the fifth bits of 32 elements. Bit i of the 32-bit word at p belongs to element i.
HEDDLE_UNPACK void fifth_bits(const uint8_t* p, int8_t* q) {
  const Sixteen place = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
  for (int half = 0; half < 2; ++half) {
    using Two = uint64_t __attribute__((vector_size(16)));
    const Two repeated = {p[2 * half] * 0x0101010101010101u, p[2 * half + 1] * 0x0101010101010101u};
    const Sixteen v = reinterpret_cast<Sixteen>(repeated);
    Sixteen low;
    __builtin_memcpy(&low, q + 16 * half, 16);
    put(low + (reinterpret_cast<Sixteen>((v & place) == place) & 16), q + 16 * half);
  }
}

template <> struct Unpack<DType::q5_0> {
  static inline void run(const uint8_t* b, int8_t* q, float* scale, float*) {
    *scale = half_at(b);
    low_then_high<1>(b + 6, 16, q);
    fifth_bits(b + 2, q);
  }
};

template <> struct Unpack<DType::q5_1> {
  static inline void run(const uint8_t* b, int8_t* q, float* scale, float* minimum) {
    *scale = half_at(b), *minimum = half_at(b + 2);
    low_then_high<1>(b + 8, 0, q);
    fifth_bits(b + 4, q);
  }
};

// 16 bytes of scale (low nibble) and minimum (high nibble), 64 bytes of two-bit integers, d, dmin. Each half of 128
// elements has 32 bytes. Bit pair p of byte i is element 32 p + i of the half.
template <> struct Unpack<DType::q2_k> {
  static inline void run(const uint8_t* b, int8_t* q, float* scale, float* minimum) {
    const float d = half_at(b + 80), dmin = half_at(b + 82);
    for (int g = 0; g < 16; ++g) {
      scale[g] = d * static_cast<float>(b[g] & 15);
      minimum[g] = -dmin * static_cast<float>(b[g] >> 4);
    }
    for (int half = 0; half < 2; ++half)
      for (int i = 0; i < 32; i += 16) {
        const Sixteen v = sixteen_at(b + 16 + 32 * half + i);
#pragma GCC unroll 4
        for (int pair = 0; pair < 4; ++pair) put(v >> 2 * pair & 3, q + 128 * half + 32 * pair + i);
      }
  }
};

// 32 bytes of third bits, 64 bytes of two-bit integers, 12 bytes of sixteen 6-bit scales, d. 4 is subtracted from an
// element whose third bit is not set.
template <> struct Unpack<DType::q3_k> {
  static inline void run(const uint8_t* b, int8_t* q, float* scale, float*) {
    const uint8_t* s = b + 96;
    const float d = half_at(b + 108);
    for (int g = 0; g < 16; ++g) {
      const int low = g < 8 ? s[g] & 15 : s[g - 8] >> 4, high = s[8 + g % 4] >> 2 * (g / 4) & 3;
      scale[g] = d * static_cast<float>((low | high << 4) - 32);
    }
    for (int i = 0; i < 32; i += 16) {
      const Sixteen thirds = sixteen_at(b + i);
      for (int half = 0; half < 2; ++half) {
        const Sixteen v = sixteen_at(b + 32 + 32 * half + i), t = thirds >> 4 * half;
#pragma GCC unroll 4
        for (int pair = 0; pair < 4; ++pair)
          put((v >> 2 * pair & 3) + ((t >> pair & 1) << 2) - 4, q + 128 * half + 32 * pair + i);
      }
    }
  }
};

// Unpacks eight 6-bit scales and minima from twelve bytes, as in q4_k and q5_k.
HEDDLE_UNPACK void six_bit_scales(const uint8_t* s, float d, float dmin, float* scale, float* minimum) {
  for (int g = 0; g < 4; ++g) {
    scale[g] = d * static_cast<float>(s[g] & 63);
    minimum[g] = -dmin * static_cast<float>(s[4 + g] & 63);
    scale[4 + g] = d * static_cast<float>((s[8 + g] & 15) | s[g] >> 6 << 4);
    minimum[4 + g] = -dmin * static_cast<float>(s[8 + g] >> 4 | s[4 + g] >> 6 << 4);
  }
}

// d, dmin, scales, 128 bytes of nibbles: each 32 bytes hold the low nibbles of 32 elements and the high nibbles of the
// next 32.
template <> struct Unpack<DType::q4_k> {
  static inline void run(const uint8_t* b, int8_t* q, float* scale, float* minimum) {
    six_bit_scales(b + 4, half_at(b), half_at(b + 2), scale, minimum);
    for (int c = 0; c < 4; ++c) low_then_high<2>(b + 16 + 32 * c, 0, q + 64 * c);
  }
};

// Like q4_k, with 32 bytes of fifth bits before the nibbles: bit g of byte i belongs to element i of group g.
template <> struct Unpack<DType::q5_k> {
  static inline void run(const uint8_t* b, int8_t* q, float* scale, float* minimum) {
    six_bit_scales(b + 4, half_at(b), half_at(b + 2), scale, minimum);
    for (int c = 0; c < 4; ++c) low_then_high<2>(b + 48 + 32 * c, 0, q + 64 * c);
    for (int i = 0; i < 32; i += 16) {
      const Sixteen fifths = sixteen_at(b + 16 + i);
#pragma GCC unroll 8
      for (int g = 0; g < 8; ++g) {
        Sixteen low;
        __builtin_memcpy(&low, q + 32 * g + i, 16);
        put(low + ((fifths >> g & 1) << 4), q + 32 * g + i);
      }
    }
  }
};

// 128 bytes with the low four bits of the integers, 64 bytes with their upper two bits, 16 signed scales, d. Each half
// of 128 elements has 64 bytes of the former: their low nibbles are elements 0 to 63, and their high nibbles 64 to 127.
// It also has 32 bytes of the latter: bit pair p of byte i is element 32 p + i of the half.
template <> struct Unpack<DType::q6_k> {
  static inline void run(const uint8_t* b, int8_t* q, float* scale, float*) {
    const float d = half_at(b + 208);
    for (int g = 0; g < 16; ++g) scale[g] = d * static_cast<float>(static_cast<int8_t>(b[192 + g]));
    for (int half = 0; half < 2; ++half)
      for (int i = 0; i < 32; i += 16) {
        const Sixteen first = sixteen_at(b + 64 * half + i), second = sixteen_at(b + 64 * half + 32 + i);
        const Sixteen high = sixteen_at(b + 128 + 32 * half + i);
        int8_t* to = q + 128 * half + i;
        put(((first & 15) | (high & 3) << 4) - 32, to);
        put(((second & 15) | (high & 12) << 2) - 32, to + 32);
        put((first >> 4 | (high & 48)) - 32, to + 64);
        put((second >> 4 | (high >> 2 & 48)) - 32, to + 96);
      }
  }
};

// The sixteen values that iq4_nl's nibbles select.
constexpr int8_t nonlinear_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

HEDDLE_UNPACK void look_up(const uint8_t* nibbles, const int8_t (&values)[16], int8_t* q) {
#if defined(__SSSE3__)
  const __m128i v = _mm_loadu_si128(reinterpret_cast<const __m128i*>(nibbles)), mask = _mm_set1_epi8(15);
  const __m128i table = _mm_loadu_si128(reinterpret_cast<const __m128i*>(values));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(q), _mm_shuffle_epi8(table, _mm_and_si128(v, mask)));
  _mm_storeu_si128(
      reinterpret_cast<__m128i*>(q + 16), _mm_shuffle_epi8(table, _mm_and_si128(_mm_srli_epi16(v, 4), mask)));
#else
  for (int i = 0; i < 16; ++i) q[i] = values[nibbles[i] & 15], q[16 + i] = values[nibbles[i] >> 4];
#endif
}

template <> struct Unpack<DType::iq4_nl> {
  static inline void run(const uint8_t* b, int8_t* q, float* scale, float*) {
    *scale = half_at(b);
    look_up(b + 2, nonlinear_values, q);
  }
};

// d, the upper bit pairs of eight 6-bit scales in two bytes, their low nibbles in four bytes, 128 bytes of nibbles.
template <> struct Unpack<DType::iq4_xs> {
  static inline void run(const uint8_t* b, int8_t* q, float* scale, float*) {
    const float d = half_at(b);
    const int high = b[2] | b[3] << 8;
    for (int g = 0; g < 8; ++g) {
      const int low = b[4 + g / 2] >> 4 * (g & 1) & 15;
      scale[g] = d * static_cast<float>((low | (high >> 2 * g & 3) << 4) - 32);
      look_up(b + 8 + 16 * g, nonlinear_values, q + 32 * g);
    }
  }
};

// Twice the values of e2m1: 0, 0.5, 1, 1.5, 2, 3, 4, 6 and their negatives.
constexpr int8_t e2m1_values[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

template <> struct Unpack<DType::mxfp4> {
  static inline void run(const uint8_t* b, int8_t* q, float* scale, float*) {
    // 2^(e - 128), half of the value of e8m0, because e2m1_values are doubled. It is subnormal for e below 2.
    const uint32_t bits = b[0] < 2 ? 0x00200000u << b[0] : static_cast<uint32_t>(b[0] - 1) << 23;
    __builtin_memcpy(scale, &bits, 4);
    look_up(b + 1, e2m1_values, q);
  }
};

// Converts n elements (whole blocks) to floats: scale * integer + minimum, each step rounded to float.
template <DType T> void dequantize_blocks(const void* from, int64_t n, float* to) {
  constexpr BlockType type = block_type(T);
  constexpr int groups = type.elements / type.group;
  int8_t q[type.elements];
  float scale[groups], minimum[groups];
  const uint8_t* block = static_cast<const uint8_t*>(from);
  for (int64_t i = 0; i < n; i += type.elements, block += type.bytes) {
    Unpack<T>::run(block, q, scale, minimum);
    for (int g = 0; g < groups; ++g)
      for (int e = g * type.group; e < (g + 1) * type.group; ++e) {
        const float product = scale[g] * static_cast<float>(q[e]);
        to[i + e] = type.minimum ? product + minimum[g] : product;
      }
  }
}
