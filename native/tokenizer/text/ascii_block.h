// Classifies sixteen bytes of text at once. Each class, such as letters or digits, is a mask with one bit per byte. The
// lowest bit is the first byte. Bytes above 0x7F belong to high() only.
#pragma once
#include <cstdint>
#include <cstring>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace heddle {

// These return the index of the lowest and of the highest set bit. `mask` must not be 0.
inline int lowest_bit(uint32_t mask) { return __builtin_ctz(mask); }
inline int highest_bit(uint32_t mask) { return 31 - __builtin_clz(mask); }

class AsciiBlock {
 public:
  static constexpr int size = 16;
  static constexpr uint32_t all = 0xFFFF;

#if defined(__SSE2__)
  explicit AsciiBlock(const char* p) : bytes_(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))) {}

  uint32_t letters() const { return within(_mm_or_si128(bytes_, _mm_set1_epi8(0x20)), 'a', 26); }
  uint32_t uppers() const { return within(bytes_, 'A', 26); }
  uint32_t lowers() const { return within(bytes_, 'a', 26); }
  uint32_t digits() const { return within(bytes_, '0', 10); }
  uint32_t spaces() const { return within(bytes_, '\t', 5) | equal(' '); }
  uint32_t newlines() const { return equal('\n') | equal('\r'); }
  uint32_t high() const { return mask(bytes_); }
  uint32_t controls() const { return within(bytes_, 0, 32); }
  uint32_t equal(char c) const { return mask(_mm_cmpeq_epi8(bytes_, _mm_set1_epi8(c))); }

 private:
  static uint32_t mask(__m128i bytes) { return static_cast<uint32_t>(_mm_movemask_epi8(bytes)); }
  // The bytes in [first, first + count). Subtraction wraps, so one unsigned comparison checks both ends.
  static uint32_t within(__m128i bytes, char first, int count) {
    const __m128i offset = _mm_sub_epi8(bytes, _mm_set1_epi8(first));
    const __m128i most = _mm_set1_epi8(static_cast<char>(count - 1));
    return mask(_mm_cmpeq_epi8(_mm_min_epu8(offset, most), offset));
  }
  __m128i bytes_;
#else
  explicit AsciiBlock(const char* p) { std::memcpy(bytes_, p, size); }

  uint32_t letters() const {
    return mask([](uint8_t c) { return static_cast<uint8_t>((c | 0x20) - 'a') < 26; });
  }
  uint32_t uppers() const {
    return mask([](uint8_t c) { return static_cast<uint8_t>(c - 'A') < 26; });
  }
  uint32_t lowers() const {
    return mask([](uint8_t c) { return static_cast<uint8_t>(c - 'a') < 26; });
  }
  uint32_t digits() const {
    return mask([](uint8_t c) { return static_cast<uint8_t>(c - '0') < 10; });
  }
  uint32_t spaces() const {
    return mask([](uint8_t c) { return c == ' ' || static_cast<uint8_t>(c - '\t') < 5; });
  }
  uint32_t newlines() const {
    return mask([](uint8_t c) { return c == '\n' || c == '\r'; });
  }
  uint32_t high() const {
    return mask([](uint8_t c) { return c >= 0x80; });
  }
  uint32_t controls() const {
    return mask([](uint8_t c) { return c < 0x20; });
  }
  uint32_t equal(char wanted) const {
    return mask([wanted](uint8_t c) { return c == static_cast<uint8_t>(wanted); });
  }

 private:
  template <class F> uint32_t mask(F is) const {
    uint32_t bits = 0;
    for (int i = 0; i < size; ++i) bits |= static_cast<uint32_t>(is(bytes_[i])) << i;
    return bits;
  }
  uint8_t bytes_[size];
#endif
};

}  // namespace heddle
