// DeepSeek 3's patterns, hand-written. Unlike the patterns of split_patterns.h, the last one does not match all text.
// Text between two matches becomes a piece too.
#pragma once
#include "tokenizer/split/split_patterns.h"

namespace heddle::split {

// Isolates runs of [一-龥぀-ゟ゠-ヿ].
struct CjkRuns {
  static bool is_in(uint32_t code) { return (code >= 0x4E00 && code <= 0x9FA5) || (code >= 0x3040 && code <= 0x30FF); }

  static const char* next(const char* p, const char* end, const SplitStage&) {
    int size = 0;
    const bool inside = is_in(utf::decode(p, size));
    for (p += size; p < end;) {
      if (static_cast<uint8_t>(*p) < 0xE3) {  // below U+3000
        if (inside) return p;
        if (end - p >= AsciiBlock::size && AsciiBlock(p).high() == 0) p += AsciiBlock::size;
        else p += utf::sequence_length(*p);
        continue;
      }
      if (is_in(utf::decode(p, size)) != inside) return p;
      p += size;
    }
    return p;
  }
};

// [!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+ | [^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+ |  ?[\p{P}\p{S}]+[\r\n]* |
// \s*[\r\n]+ | \s+(?!\S) | \s+
struct DeepSeek {
  static const char* next(const char* p, const char* end, const SplitStage&) {
    if (end - p >= AsciiBlock::size) {
      const AsciiBlock block(p);
      const uint32_t letters = block.letters(), spaces = block.spaces(), high = block.high();
      if (high == 0 || lowest_bit(high) > 1) {
        const bool is_word = letters & first_bit;
        const bool is_space = spaces & first_bit;
        const uint8_t first = static_cast<uint8_t>(*p);
        const bool is_punctuation = !is_word && ascii_punctuation(first);
        if (is_word || ((letters & 2) && first != '\n' && first != '\r')) {
          const int length = 1 + run_length(letters, 1);
          // After punctuation, a word has ASCII letters only, so any other byte ends it.
          if (length < AsciiBlock::size && (is_punctuation || !(high >> length & 1))) return p + length;
        } else if (is_punctuation || (*p == ' ' && ascii_punctuation(static_cast<uint8_t>(p[1])))) {
          int length = 1;
          while (length < AsciiBlock::size && ascii_punctuation(static_cast<uint8_t>(p[length]))) ++length;
          if (length < AsciiBlock::size && !(high >> length & 1)) {
            length += run_length(block.newlines(), length);
            if (length < AsciiBlock::size) return p + length;
          }
        } else if (is_space) {
          if (const char* stop = short_whitespace(p, spaces, block.newlines(), high)) return stop;
        }
      }
    }
    const Reader text(end);
    if (const char* stop = match(text, p)) return stop;
    do p += text.at(p).size;
    while (p < end && !starts_match(text, p));
    return p;
  }

 private:
  static constexpr uint32_t first_punctuation = 16, last_symbol = 26;
  static_assert(unicode::category_names[first_punctuation] == "Pc" && unicode::category_names[last_symbol] == "So");
  static bool ascii_punctuation(uint8_t byte) {  // in ASCII, all punctuation is in \p{P} or \p{S}
    return byte > ' ' && byte < 0x7F && starts.of[byte] != Start::letter && starts.of[byte] != Start::digit;
  }
  static bool is_punctuation(const char* p, Char c) {  // \p{P} or \p{S}
    if (c.size == 0 || (c.flags & lns)) return false;
    if (c.size == 1) return ascii_punctuation(c.ascii);
    int size = 0;
    const uint32_t category = unicode::properties()[utf::decode(p, size)] & unicode::category_mask;
    return category >= first_punctuation && category <= last_symbol;
  }
  static bool in_word(Char c) { return c.flags & (letter | unicode::mark); }

  // Whether match() would find a match. Does not search for its end.
  static bool starts_match(const Reader& text, const char* p) {
    const Char first = text.at(p);
    if (in_word(first) || (first.flags & space) || is_punctuation(p, first)) return true;
    return in_word(text.at(p + first.size));
  }

  static const char* match(const Reader& text, const char* p) {
    const Char first = text.at(p);
    const bool punctuation = is_punctuation(p, first);
    if (punctuation && first.ascii != 0) {
      const char* word = p + 1;
      while (word < text.end() && starts.of[static_cast<uint8_t>(*word)] == Start::letter) ++word;
      if (word > p + 1) return word;
    }
    if (!punctuation && !is_newline(first) && !(first.flags & letter) && in_word(text.at(p + first.size))) {
      return text.run_of(p + first.size, letter | unicode::mark);
    }
    if (in_word(first)) return text.run_of(p, letter | unicode::mark);
    const char* from = first.ascii == ' ' ? p + 1 : p;
    Char c = text.at(from);
    if (is_punctuation(from, c)) {
      for (; is_punctuation(from, c); c = text.at(from)) from += c.size;
      while (is_newline(text.at(from))) ++from;
      return from;
    }
    const char* stop = newlines_or_whitespace(text, p);
    return stop != p ? stop : nullptr;
  }
};

}  // namespace heddle::split
