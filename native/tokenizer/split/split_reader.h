// Shared by the split patterns: characters with their flags, and the ends of runs.
#pragma once
#include <cstdint>

#include "tokenizer/text/ascii_block.h"
#include "tokenizer/text/unicode.h"
#include "tokenizer/text/utf.h"

namespace heddle::split {

// A character at a position: its flags, its size in bytes (0 at the end) and, for ASCII only, its value.
struct Char {
  uint8_t flags = 0;
  uint8_t size = 0;
  uint8_t ascii = 0;  // 0 for anything else
};

inline bool is_newline(Char c) { return c.ascii == '\n' || c.ascii == '\r'; }

class Reader {
 public:
  explicit Reader(const char* end) : table_(unicode::flag_table()), end_(end) {}

  Char at(const char* p) const {
    if (p >= end_) return {};
    const auto byte = static_cast<uint8_t>(*p);
    if (byte < 0x80) return {table_[byte], 1, byte};
    int size = 0;
    const uint32_t code = utf::decode(p, size);
    return {unicode::flags_of(table_, code), static_cast<uint8_t>(size), 0};
  }

  // Returns the end of the longest run from p of characters with any flag of `mask`.
  const char* run_of(const char* p, uint8_t mask) const {
    for (Char c = at(p); c.size != 0 && (c.flags & mask); c = at(p)) p += c.size;
    return p;
  }

  // Returns the end of the longest run from p of characters with no flag of `mask`.
  const char* run_without(const char* p, uint8_t mask) const {
    for (Char c = at(p); c.size != 0 && !(c.flags & mask); c = at(p)) p += c.size;
    return p;
  }

  // Like run_of for letters, sixteen ASCII bytes at a time.
  const char* letters(const char* p) const {
    for (;;) {
      while (end_ - p >= AsciiBlock::size) {
        const uint32_t stops = ~AsciiBlock(p).letters() & AsciiBlock::all;
        if (stops != 0) {
          p += lowest_bit(stops);
          break;
        }
        p += AsciiBlock::size;
      }
      for (Char c = at(p);; c = at(p)) {
        if (!(c.flags & unicode::letter)) return p;
        p += c.size;
        if (c.ascii && end_ - p >= AsciiBlock::size) break;
      }
    }
  }

  // Matches \p{N}{1,most}. most 0: no limit.
  const char* digits(const char* p, int most) const {
    int count = 0;
    for (Char c = at(p); c.size != 0 && (c.flags & unicode::number); c = at(p)) {
      p += c.size;
      if (++count == most) break;
    }
    return p;
  }

  const char* end() const { return end_; }

 private:
  const uint8_t* table_;
  const char* end_;
};

// Returns the length of 's 't 're 've 'm 'll 'd at p, where *p is the apostrophe, or 0.
inline size_t contraction(const char* p, const char* end, bool ignore_case) {
  const auto left = static_cast<size_t>(end - p);
  if (left < 2) return 0;
  const char fold = ignore_case ? 0x20 : 0;
  const char a = static_cast<char>(p[1] | fold);
  if (a == 's' || a == 't' || a == 'm' || a == 'd') return 2;
  if (left < 3) return 0;
  const char b = static_cast<char>(p[2] | fold);
  if ((a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l')) return 3;
  // U+017F (long s) folds to s.
  if (ignore_case && p[1] == '\xC5' && p[2] == '\xBF') return 3;
  return 0;
}

// Returns the end of \s+(?!\S)|\s+ at p, where a run of whitespace begins that ends at run_end. Leaves out the run's
// last character, unless the text ends there or it is the only one.
inline const char* whitespace(const Reader& text, const char* p, const char* run_end) {
  if (run_end == text.end()) return run_end;
  const char* last = utf::previous(run_end);
  return last == p ? run_end : last;
}

// Returns the end of the match of \s*[\r\n]+ | \s+(?!\S) | \s+ at p, or p without a match.
inline const char* newlines_or_whitespace(const Reader& text, const char* p) {
  const char* newline_end = nullptr;  // just after the last newline of the run
  const char* run_end = p;
  for (Char s = text.at(run_end); s.size != 0 && (s.flags & unicode::space); s = text.at(run_end)) {
    run_end += s.size;
    if (is_newline(s)) newline_end = run_end;
  }
  if (newline_end != nullptr) return newline_end;
  return run_end == p ? p : whitespace(text, p, run_end);
}

// Like newlines_or_whitespace, for a run that ends within one block of ASCII. Returns null for other runs.
inline const char* short_whitespace(const char* p, uint32_t spaces, uint32_t newlines, uint32_t high) {
  const int length = lowest_bit(~spaces);
  if (length >= AsciiBlock::size || (high >> length & 1)) return nullptr;
  const uint32_t breaks = newlines & ((1u << length) - 1);
  if (breaks != 0) return p + highest_bit(breaks) + 1;
  return p + (length > 1 ? length - 1 : 1);
}

// Classes of a piece's first byte.
enum class Start : uint8_t { other, letter, digit, space, newline, apostrophe, high };
inline constexpr Start start_of(uint8_t byte) {
  if (byte >= 0x80) return Start::high;
  if ((byte | 0x20) >= 'a' && (byte | 0x20) <= 'z') return Start::letter;
  if (byte >= '0' && byte <= '9') return Start::digit;
  if (byte == '\n' || byte == '\r') return Start::newline;
  if (byte == ' ' || (byte >= 9 && byte <= 13)) return Start::space;
  return byte == '\'' ? Start::apostrophe : Start::other;
}
struct StartTable {
  Start of[256];
  constexpr StartTable() : of() {
    for (int i = 0; i < 256; ++i) of[i] = start_of(static_cast<uint8_t>(i));
  }
};
inline constexpr StartTable starts{};

}  // namespace heddle::split
