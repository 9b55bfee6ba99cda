// SipHash-1-3 with 128 bits of output, over 64-bit words (Aumasson and Bernstein, 2012). The hash tables of Rust and
// Python use SipHash-1-3 too. Without the key, no known attack finds collisions faster than chance.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

namespace heddle {

class SipHash {
 public:
  using Value = std::pair<uint64_t, uint64_t>;

  explicit SipHash(const uint64_t key[2])
      : a_(0x736F6D6570736575ULL ^ key[0]), b_(0x646F72616E646F6DULL ^ key[1] ^ 0xEE),
        c_(0x6C7967656E657261ULL ^ key[0]), d_(0x7465646279746573ULL ^ key[1]) {}

  void add(uint64_t word) {
    d_ ^= word;
    round();
    a_ ^= word;
    ++words_;
  }

  // Adds the size, then the bytes, padded with zeros to whole words. Because of the size, adding "ab" and "c" gives
  // another hash than adding "a" and "bc".
  void add_bytes(const void* bytes, size_t size) {
    add(size);
    const auto* at = static_cast<const char*>(bytes);
    SipHash state = *this;  // kept in registers
    for (; size >= 8; size -= 8, at += 8) {
      uint64_t word;
      std::memcpy(&word, at, 8);
      state.add(word);
    }
    *this = state;
    if (size == 0) return;
    uint64_t word = 0;
    std::memcpy(&word, at, size);
    add(word);
  }

  // Returns the hash of everything added so far.
  Value value() const {
    SipHash last = *this;
    last.add(words_ << 59);  // the length in bytes, modulo 256, at the top
    last.c_ ^= 0xEE;
    for (int i = 0; i < 3; ++i) last.round();
    const uint64_t low = last.a_ ^ last.b_ ^ last.c_ ^ last.d_;
    last.b_ ^= 0xDD;
    for (int i = 0; i < 3; ++i) last.round();
    return {low, last.a_ ^ last.b_ ^ last.c_ ^ last.d_};
  }

 private:
  static uint64_t rotate(uint64_t x, int bits) { return x << bits | x >> (64 - bits); }
  void round() {
    a_ += b_, b_ = rotate(b_, 13) ^ a_, a_ = rotate(a_, 32);
    c_ += d_, d_ = rotate(d_, 16) ^ c_;
    a_ += d_, d_ = rotate(d_, 21) ^ a_;
    c_ += b_, b_ = rotate(b_, 17) ^ c_, c_ = rotate(c_, 32);
  }

  uint64_t a_, b_, c_, d_;
  uint64_t words_ = 0;
};

}  // namespace heddle
