// BLOOM's pattern, hand-written. As in split_deepseek.h, text between matches becomes pieces too.
#pragma once
#include "tokenizer/split/split_patterns.h"

namespace heddle::split {

// The bit of an ASCII character in its half of bloom_excluded.
constexpr uint64_t bloom_bit(char c) { return uint64_t{1} << (c & 63); }
// ASCII characters that the pattern's class excludes in addition to whitespace.
constexpr uint64_t bloom_excluded[2] = {
    bloom_bit('(') | bloom_bit(')') | bloom_bit(',') | bloom_bit('.') | bloom_bit('!') | bloom_bit('?'),
    bloom_bit('|')};

//  ?[^(\s|[.,!?…。，、।۔،])]+
struct Bloom {
  static const char* next(const char* p, const char* end, const SplitStage&) {
    const Reader text(end);
    const char* start = begin_of_match(text, p);
    if (start != nullptr) {
      while (is_in(text, start)) start += text.at(start).size;
      return start;
    }
    do p += text.at(p).size;
    while (p < end && begin_of_match(text, p) == nullptr);
    return p;
  }

 private:
  // Returns the position of the match's first character in the class: p, or the position after a space at p. Returns
  // null without a match.
  static const char* begin_of_match(const Reader& text, const char* p) {
    const char* start = p < text.end() && *p == ' ' ? p + 1 : p;
    return is_in(text, start) ? start : nullptr;
  }

  static bool is_in(const Reader& text, const char* p) {
    const Char c = text.at(p);
    if (c.size == 0 || (c.flags & space)) return false;
    if (c.size == 1) return !(bloom_excluded[c.ascii >> 6] >> (c.ascii & 63) & 1);
    int size = 0;
    switch (utf::decode(p, size)) {
      case 0x2026:
      case 0x3002:
      case 0xFF0C:
      case 0x3001:
      case 0x0964:
      case 0x06D4:
      case 0x060C: return false;
      default: return true;
    }
  }
};

}  // namespace heddle::split
