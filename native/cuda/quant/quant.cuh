// Quantized weights in registers. A Run is 16 elements of a block that share a scale and a minimum, with four words of
// signed bytes: element = scale * byte + minimum. The block layouts are those of native/ops/unpack-inl.h. As in
// llama.cpp's CUDA kernels, whole words are read, and elements are extracted by masks.
#pragma once
#include "cuda/rows/math.cuh"

namespace heddle {
namespace cuda {

constexpr int run_elements = 16;

struct Run {
  uint32_t q[4];  // byte b of word i is element 4 i + b, signed
  float scale, minimum;

  __device__ float operator[](int i) const {
    return scale * static_cast<float>(static_cast<int8_t>(q[i / 4] >> 8 * (i % 4))) + minimum;
  }
};

// The sizes of a block of type T, for device code.
template <DType T> struct Block;
#define HEDDLE_BLOCK(name, elements_, bytes_, ...) \
  template <> struct Block<DType::name> { \
    static constexpr int elements = elements_, bytes = bytes_; \
  };
HEDDLE_BLOCK_TYPES(HEDDLE_BLOCK)
#undef HEDDLE_BLOCK

// Reads a little-endian word at an address that is a multiple of `alignment`.
template <int alignment> __device__ inline uint32_t word_at(const uint8_t* p) {
  if (alignment % 4 == 0) return *reinterpret_cast<const uint32_t*>(p);
  if (alignment % 2 == 0) {
    const uint16_t* two = reinterpret_cast<const uint16_t*>(p);
    return two[0] | static_cast<uint32_t>(two[1]) << 16;
  }
  return p[0] | p[1] << 8 | p[2] << 16 | static_cast<uint32_t>(p[3]) << 24;
}
// Reads the 16 bytes at p as words. With an alignment of 2, p may be 2 bytes after a multiple of 4. In that case,
// aligned words are read from p - 2 on and shifted into place. The two bytes before p belong to the same block. Nothing
// after the 16 bytes is read.
template <int alignment> __device__ inline void words_at(const uint8_t* p, uint32_t (&to)[4]) {
  if (alignment % 16 == 0) {
    const uint4 all = *reinterpret_cast<const uint4*>(p);
    to[0] = all.x, to[1] = all.y, to[2] = all.z, to[3] = all.w;
  } else if (alignment == 2) {
    const unsigned odd = reinterpret_cast<uintptr_t>(p) & 2;
    const uint32_t* words = reinterpret_cast<const uint32_t*>(p - odd);
    uint32_t read[5] = {words[0], words[1], words[2], words[3], 0};
    if (odd) read[4] = *reinterpret_cast<const uint16_t*>(words + 4);
    HEDDLE_UNROLL
    for (int i = 0; i < 4; ++i) to[i] = __funnelshift_r(read[i], read[i + 1], 8 * odd);
  } else {
    HEDDLE_UNROLL
    for (int i = 0; i < 4; ++i) to[i] = word_at<alignment>(p + 4 * i);
  }
}
__device__ inline float half_at(const uint8_t* p) { return ptx::half_to_float(*reinterpret_cast<const uint16_t*>(p)); }

// Returns a - b, byte by byte. Bytes of a must be at most 127, and bytes of b at most 128. Setting bit 7 of each byte
// of a prevents borrows between bytes. Flipping bit 7 of the result removes it again.
__device__ inline uint32_t subtract_bytes(uint32_t a, uint32_t b) { return ((a | 0x80808080u) - b) ^ 0x80808080u; }

// Moves bits 0 to 3 to bit 0 of bytes 0 to 3. The product shifts the bits by 0, 7, 14 and 21.
__device__ inline uint32_t spread_bits(uint32_t four) { return four * 0x00204081u & 0x01010101u; }

// Looks up four nibbles, one per byte of `nibbles`, in a table of 16 signed bytes. The words t0 to t3 are the table.
__device__ inline uint32_t look_up(uint32_t nibbles, uint32_t t0, uint32_t t1, uint32_t t2, uint32_t t3) {
  // prmt selects each byte of its result by a nibble of the selector, out of eight bytes. `selector` has the low three
  // bits of the four nibbles. Bit 3 of a nibble then selects between the two halves of the table.
  const uint32_t pairs = (nibbles | nibbles >> 4) & 0x00ff00ffu, selector = (pairs | pairs >> 8) & 0x7777u;
  const uint32_t low = __byte_perm(t0, t1, selector), high = __byte_perm(t2, t3, selector);
  const uint32_t upper = (nibbles >> 3 & 0x01010101u) * 0xffu;
  return (high & upper) | (low & ~upper);
}
// Converts four nibbles to the values of iq4_nl and iq4_xs: -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38,
// 53, 69, 89, 113.
__device__ inline uint32_t nonlinear_bytes(uint32_t nibbles) {
  return look_up(nibbles, 0xbfad9881u, 0xf6eaddcfu, 0x26190d01u, 0x71594535u);
}
// Converts four nibbles to twice the values of e2m1: 0, 1, 2, 3, 4, 6, 8, 12 and their negatives.
__device__ inline uint32_t e2m1_bytes(uint32_t nibbles) {
  return look_up(nibbles, 0x03020100u, 0x0c080604u, 0xfdfeff00u, 0xf4f8fafcu);
}

// Returns scale g of the eight 6-bit scales and eight 6-bit minimums that q4_k and q5_k store in twelve bytes. The
// upper two bits of scales and minimums 4 to 7 are in the upper bits of bytes 0 to 7.
__device__ inline int six_bit_scale(const uint8_t* s, int g) {
  return g < 4 ? s[g] & 63 : (s[4 + g] & 15) | s[g - 4] >> 6 << 4;
}
// Returns minimum g of the eight.
__device__ inline int six_bit_minimum(const uint8_t* s, int g) {
  return g < 4 ? s[4 + g] & 63 : s[4 + g] >> 4 | s[g] >> 6 << 4;
}

// Reads run r of the block at b: elements [16 r, 16 r + 16).
template <DType T> __device__ inline Run read_run(const uint8_t* b, int r) {
  constexpr int bytes = Block<T>::bytes, alignment = bytes % 16 == 0 ? 16 : bytes % 4 == 0 ? 4 : bytes % 2 == 0 ? 2 : 1;
  Run run;
  run.minimum = 0;
  // Reads the four words at `from`, and stores take(word, i) as word i of the run.
  const auto words = [&](const uint8_t* from, auto&& take) {
    uint32_t read[4];
    words_at<alignment>(from, read);
    HEDDLE_UNROLL
    for (int i = 0; i < 4; ++i) run.q[i] = take(read[i], i);
  };
  // The run's position in a block of 256 elements: the half (128 elements), the half's quarter (32), and the offset in
  // it.
  const int half = r / 8, quarter = r % 8 / 2, at = r % 2 * 16;
  switch (T) {
    case DType::q8_0:
      run.scale = half_at(b);
      words(b + 2 + 16 * r, [](uint32_t w, int) { return w; });
      break;
    case DType::q4_0:
      run.scale = half_at(b);
      words(b + 2, [&](uint32_t w, int) { return subtract_bytes(w >> 4 * r & 0x0f0f0f0fu, 0x08080808u); });
      break;
    case DType::q4_1:
      run.scale = half_at(b), run.minimum = half_at(b + 2);
      words(b + 4, [&](uint32_t w, int) { return w >> 4 * r & 0x0f0f0f0fu; });
      break;
    case DType::q5_0: {
      const uint32_t fifth_bits = *reinterpret_cast<const uint16_t*>(b + 2 + 2 * r);
      run.scale = half_at(b);
      words(b + 6, [&](uint32_t w, int i) {
        return subtract_bytes((w >> 4 * r & 0x0f0f0f0fu) | spread_bits(fifth_bits >> 4 * i & 15) << 4, 0x10101010u);
      });
      break;
    }
    case DType::q5_1: {
      const uint32_t fifth_bits = *reinterpret_cast<const uint16_t*>(b + 4 + 2 * r);
      run.scale = half_at(b), run.minimum = half_at(b + 2);
      words(b + 8,
          [&](uint32_t w, int i) { return (w >> 4 * r & 0x0f0f0f0fu) | spread_bits(fifth_bits >> 4 * i & 15) << 4; });
      break;
    }
    case DType::q2_k:
      run.scale = half_at(b + 80) * static_cast<float>(b[r] & 15),
      run.minimum = -half_at(b + 82) * static_cast<float>(b[r] >> 4);
      words(b + 16 + 32 * half + at, [&](uint32_t w, int) { return w >> 2 * quarter & 0x03030303u; });
      break;
    case DType::q3_k: {
      const uint8_t* s = b + 96;
      const int low = r < 8 ? s[r] & 15 : s[r - 8] >> 4, high = s[8 + r % 4] >> 2 * (r / 4) & 3;
      run.scale = half_at(b + 108) * static_cast<float>((low | high << 4) - 32);
      words(b + 32 + 32 * half + at, [&](uint32_t w, int i) {
        const uint32_t third_bits = word_at<alignment>(b + at + 4 * i) >> (4 * half + quarter) & 0x01010101u;
        return subtract_bytes((w >> 2 * quarter & 0x03030303u) | third_bits << 2, 0x04040404u);
      });
      break;
    }
    case DType::q4_k:
    case DType::q5_k: {
      const int g = r / 2, nibble = 4 * (g % 2);
      run.scale = half_at(b) * static_cast<float>(six_bit_scale(b + 4, g));
      run.minimum = -half_at(b + 2) * static_cast<float>(six_bit_minimum(b + 4, g));
      words(b + (T == DType::q4_k ? 16 : 48) + 32 * (g / 2) + at, [&](uint32_t w, int i) {
        const uint32_t low = w >> nibble & 0x0f0f0f0fu;
        if (T == DType::q4_k) return low;
        return low | (word_at<alignment>(b + 16 + at + 4 * i) >> g & 0x01010101u) << 4;
      });
      break;
    }
    case DType::q6_k:
      run.scale = half_at(b + 208) * static_cast<float>(static_cast<int8_t>(b[192 + r]));
      words(b + 64 * half + 32 * (quarter % 2) + at, [&](uint32_t w, int i) {
        const uint32_t high = word_at<alignment>(b + 128 + 32 * half + at + 4 * i) >> 2 * quarter & 0x03030303u;
        return subtract_bytes((w >> 4 * (quarter / 2) & 0x0f0f0f0fu) | high << 4, 0x20202020u);
      });
      break;
    case DType::iq4_nl:
      run.scale = half_at(b);
      words(b + 2, [&](uint32_t w, int) { return nonlinear_bytes(w >> 4 * r & 0x0f0f0f0fu); });
      break;
    case DType::iq4_xs: {
      const int g = r / 2, low = b[4 + g / 2] >> 4 * (g & 1) & 15, high = (b[2] | b[3] << 8) >> 2 * g & 3;
      run.scale = half_at(b) * static_cast<float>((low | high << 4) - 32);
      words(b + 8 + 16 * g, [&](uint32_t w, int) { return nonlinear_bytes(w >> 4 * (r % 2) & 0x0f0f0f0fu); });
      break;
    }
    default:  // mxfp4: the scale is 2^(e - 128), half of the e8m0 value, because e2m1_bytes are doubled
      // It is a subnormal float if e is below 2.
      run.scale = __uint_as_float(b[0] < 2 ? 0x00200000u << b[0] : static_cast<uint32_t>(b[0] - 1) << 23);
      words(b + 1, [&](uint32_t w, int) { return e2m1_bytes(w >> 4 * r & 0x0f0f0f0fu); });
  }
  return run;
}

// Whether two runs of type T share 16 bytes, as lower and upper four bits, and read_pair supports the type.
template <DType T> constexpr bool has_pairs = T == DType::q4_0 || T == DType::q4_k;
// Whether runs of type T have a minimum other than 0.
template <DType T> constexpr bool has_minimums = T != DType::q8_0 && T != DType::q4_0;

// Reads the p-th pair of runs of the block at b. Its 16 bytes are read once. In q4_0, the pair is runs 0 and 1. In
// q4_k, it is run 4 (p / 2) + p % 2 and the second run after it. Their groups of 32 elements are adjacent.
template <DType T> __device__ inline void read_pair(const uint8_t* b, int p, Run (&pair)[2]) {
  uint32_t words[4];
  if constexpr (T == DType::q4_0) {
    words_at<2>(b + 2, words);
    pair[0].scale = pair[1].scale = half_at(b), pair[0].minimum = pair[1].minimum = 0;
  } else {
    // The block begins with two halfs and the twelve bytes of six_bit_scale, in 16 bytes.
    const uint4 head = *reinterpret_cast<const uint4*>(b);
    words_at<16>(b + 16 + 16 * p, words);
    const bool low = p < 4;  // groups 0 to 3
    const uint32_t scales = low ? head.y & 0x3f3f3f3fu : (head.w & 0x0f0f0f0fu) | (head.y >> 2 & 0x30303030u),
                   minimums = low ? head.z & 0x3f3f3f3fu : (head.w >> 4 & 0x0f0f0f0fu) | (head.z >> 2 & 0x30303030u);
    const float scale = ptx::half_to_float(static_cast<uint16_t>(head.x)),
                minimum = -ptx::half_to_float(static_cast<uint16_t>(head.x >> 16));
    HEDDLE_UNROLL
    for (int i = 0; i < 2; ++i) {
      const int shift = 8 * (p / 2 * 2 % 4 + i);
      pair[i].scale = scale * static_cast<float>(scales >> shift & 63);
      pair[i].minimum = minimum * static_cast<float>(minimums >> shift & 63);
    }
  }
  HEDDLE_UNROLL
  for (int i = 0; i < 4; ++i) {
    const uint32_t lower = words[i] & 0x0f0f0f0fu, upper = words[i] >> 4 & 0x0f0f0f0fu;
    pair[0].q[i] = T == DType::q4_0 ? subtract_bytes(lower, 0x08080808u) : lower;
    pair[1].q[i] = T == DType::q4_0 ? subtract_bytes(upper, 0x08080808u) : upper;
  }
}

// The T of BlockRows for types without specialized kernels.
constexpr DType runtime_type = DType::u8;

// A matrix of quantized rows of one type. T is this type, or runtime_type. With runtime_type, kernels branch on `type`
// for each Run.
template <DType T> struct BlockRows {
  static constexpr DType block_type = T;
  const uint8_t* data;
  DType type;
  int64_t width;  // elements of a row

  // Returns elements [16 run, 16 run + 16) of a row.
  __device__ Run run(int64_t row, int64_t run) const {
    if constexpr (T != runtime_type) {
      constexpr int elements = Block<T>::elements, bytes = Block<T>::bytes, runs = elements / run_elements;
      const unsigned at = static_cast<unsigned>(run);  // 32 bits: a row has fewer runs
      return read_run<T>(data + (row * (width / elements) + at / runs) * bytes, static_cast<int>(at % runs));
    } else {
      const Size size = size_of(type);
      const int runs = size.elements / run_elements, r = static_cast<int>(run % runs);
      const uint8_t* b = data + (row * (width / size.elements) + run / runs) * size.bytes;
      switch (type) {
#define HEDDLE_CASE(name, ...) \
  case DType::name: return read_run<DType::name>(b, r);
        HEDDLE_BLOCK_TYPES(HEDDLE_CASE)
#undef HEDDLE_CASE
        default: return Run{};
      }
    }
  }

  // Reads the p-th pair of runs of a row. Requires has_pairs<T>.
  __device__ void pair(int64_t row, unsigned p, Run (&to)[2]) const {
    constexpr int elements = Block<T>::elements, bytes = Block<T>::bytes, pairs = elements / (2 * run_elements);
    read_pair<T>(data + (row * (width / elements) + p / pairs) * bytes, static_cast<int>(p % pairs), to);
  }

  // Starts to fetch a row to the L2 cache, which reads at least 64 bytes at a time. The lanes of a warp share the row.
  __device__ void fetch(int64_t row) const {
    const Size size = T == runtime_type ? size_of(type) : size_of(T);
    const int64_t bytes = width / size.elements * size.bytes;
    for (int64_t at = threadIdx.x % warp_size * 64; at < bytes; at += warp_size * 64)
      ptx::touch(data + row * bytes + at);
  }

 private:
  struct Size {
    int elements, bytes;
  };
  static __device__ Size size_of(DType type) {
    switch (type) {
#define HEDDLE_CASE(name, elements, bytes, ...) \
  case DType::name: return {elements, bytes};
      HEDDLE_BLOCK_TYPES(HEDDLE_CASE)
#undef HEDDLE_CASE
      default: return {run_elements, 1};
    }
  }
};

// Calls use(run, r) for each run r that the lane takes of a row with `runs` runs. The 32 lanes of a warp share the row.
// A lane reads `together` runs before it uses any, because the throughput grows with the bytes in flight.
template <int together, DType T, class F>
__device__ inline void each_run(const BlockRows<T>& w, int64_t row, int64_t runs, F use) {
  const unsigned lane = threadIdx.x % warp_size, all = static_cast<unsigned>(runs);
  if constexpr (has_pairs<T>) {
    constexpr int pairs = together / 2;
    const auto use_pair = [&](const Run(&pair)[2], unsigned p) {
      const unsigned first = T == DType::q4_k ? p / 2 * 4 + p % 2 : 2 * p;
      use(pair[0], first);
      use(pair[1], first + (T == DType::q4_k ? 2 : 1));
    };
    unsigned p = lane;
    for (; p + (pairs - 1) * warp_size < all / 2; p += pairs * warp_size) {
      Run read[pairs][2];
      HEDDLE_UNROLL
      for (int i = 0; i < pairs; ++i) w.pair(row, p + i * warp_size, read[i]);
      HEDDLE_UNROLL
      for (int i = 0; i < pairs; ++i) use_pair(read[i], p + i * warp_size);
    }
    if constexpr (pairs > 1) {
      HEDDLE_ROLLED
      for (; p < all / 2; p += warp_size) {
        Run read[2];
        w.pair(row, p, read);
        use_pair(read, p);
      }
    }
  } else {
    unsigned r = lane;
    // With a type that is only known at run time, several reads would multiply the branches on it.
    if constexpr (T != runtime_type) {
      for (; r + (together - 1) * warp_size < all; r += together * warp_size) {
        Run read[together];
        HEDDLE_UNROLL
        for (int i = 0; i < together; ++i) read[i] = w.run(row, r + i * warp_size);
        HEDDLE_UNROLL
        for (int i = 0; i < together; ++i) use(read[i], r + i * warp_size);
      }
    }
    HEDDLE_ROLLED
    for (; r < all; r += warp_size) use(w.run(row, r), r);
  }
}

// Calls use(rows) with the BlockRows of w, whose rows have `width` elements. The most common types have specialized
// kernels, and the others share one.
template <class F> void with_block_rows(const View& w, int64_t width, F use) {
  const uint8_t* data = static_cast<const uint8_t*>(w.data);
  if (w.type == DType::q8_0) use(BlockRows<DType::q8_0>{data, w.type, width});
  else if (w.type == DType::q4_0) use(BlockRows<DType::q4_0>{data, w.type, width});
  else if (w.type == DType::q4_k) use(BlockRows<DType::q4_k>{data, w.type, width});
  else use(BlockRows<runtime_type>{data, w.type, width});
}

}  // namespace cuda
}  // namespace heddle
