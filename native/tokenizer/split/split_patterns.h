// Hand-written split patterns. Each next() follows the pattern's regular expression. A fast path comes first, for
// pieces that end within sixteen bytes of ASCII, which most do.
#pragma once
#include "tokenizer/split/split_reader.h"
#include "tokenizer/split/splitter.h"

namespace heddle::split {

using unicode::letter;
using unicode::lowerish;
using unicode::number;
using unicode::space;
using unicode::upperish;

constexpr uint8_t lns = letter | number | space;

// The bit of the character at `p` in a mask that starts there.
constexpr uint32_t first_bit = 1;

// Returns the number of consecutive set bits from bit `from` on. If the run reaches the end of the block, this is
// 16 - from.
inline int run_length(uint32_t mask, int from) { return lowest_bit(~(mask >> from)); }

struct Gpt2 {
  static const char* next(const char* p, const char* end, const SplitStage&) {
    if (end - p >= AsciiBlock::size) {
      const AsciiBlock block(p);
      const uint32_t letters = block.letters();
      const int from = *p == ' ';
      int length = from + run_length(letters, from);
      if (length == from && *p != '\'') {
        const uint32_t spaces = block.spaces(), digits = block.digits(), high = block.high();
        length += run_length(digits, from);
        if (length == from) length += run_length(~(letters | digits | spaces | high) & AsciiBlock::all, from);
        if (length == from && (spaces & first_bit) && !(high >> 1 & 1)) {
          const char* stop = short_whitespace(p, spaces, 0, high);
          return stop != nullptr ? stop : next_slowly(p, end);
        }
      }
      if (length > from && length < AsciiBlock::size && static_cast<uint8_t>(p[length]) < 0x80) return p + length;
    }
    return next_slowly(p, end);
  }

  static const char* next_slowly(const char* p, const char* end) {
    const Reader text(end);
    const Char first = text.at(p);
    if (first.ascii == '\'') {
      if (const size_t length = contraction(p, end, false)) return p + length;
    }
    const char* start = first.ascii == ' ' ? p + 1 : p;
    const Char c = first.ascii == ' ' ? text.at(start) : first;
    if (c.size != 0 && !(c.flags & space)) {
      if (c.flags & letter) return text.letters(start + c.size);
      if (c.flags & number) return text.run_of(start + c.size, number);
      return text.run_without(start + c.size, lns);
    }
    return whitespace(text, p, text.run_of(p, space));
  }
};

// The alternatives of cl100k and o200k after words and numbers:
//  ?[^\s\p{L}\p{N}]+[\r\n]* (with `slash` also /) | \s*[\r\n]+ | \s+(?!\S) | \s+
inline const char* next_other(const Reader& text, const char* p, Char first, bool slash) {
  const char* start = first.ascii == ' ' ? p + 1 : p;
  const Char c = first.ascii == ' ' ? text.at(start) : first;
  if (c.size != 0 && !(c.flags & lns)) {
    p = text.run_without(start + c.size, lns);
    for (Char n = text.at(p); is_newline(n) || (slash && n.ascii == '/'); n = text.at(p)) ++p;
    return p;
  }
  return newlines_or_whitespace(text, p);
}

// Like next_other, within one block. Returns null if the piece continues after the block. `letters` is
// block.letters().
inline const char* short_other(const char* p, const AsciiBlock& block, uint32_t letters, bool slash) {
  const uint32_t spaces = block.spaces(), high = block.high();
  const uint32_t others = ~(letters | block.digits() | spaces | high) & AsciiBlock::all;
  const int from = *p == ' ';
  int length = from + run_length(others, from);
  if (length == from) return spaces & first_bit ? short_whitespace(p, spaces, block.newlines(), high) : nullptr;
  if (length >= AsciiBlock::size || (high >> length & 1)) return nullptr;
  uint32_t tail = block.newlines();
  if (slash) tail |= block.equal('/');
  length += run_length(tail, length);
  return length < AsciiBlock::size ? p + length : nullptr;
}

struct Cl100k {
  static const char* next(const char* p, const char* end, const SplitStage& stage) {
    if (end - p >= AsciiBlock::size) {
      const AsciiBlock block(p);
      const uint32_t letters = block.letters();
      const Start start = starts.of[static_cast<uint8_t>(*p)];
      // A word, optionally preceded by a character other than a letter, digit or newline.
      if (start == Start::apostrophe) {
        if (const size_t length = contraction(p, end, true)) return p + length;
      }
      const bool prefixed = start == Start::space || start == Start::other || start == Start::apostrophe;
      if (start == Start::letter || (prefixed && (letters & 2))) {
        const int length = 1 + run_length(letters, 1);
        if (length < AsciiBlock::size && static_cast<uint8_t>(p[length]) < 0x80) return p + length;
        return Reader(end).letters(p + 1);
      }
      if (start == Start::digit) {
        if (stage.max_digits == 1) return p + 1;
      } else if (start != Start::high) {
        if (!prefixed || static_cast<uint8_t>(p[1]) < 0x80) {  // otherwise a letter beyond ASCII may follow
          if (const char* stop = short_other(p, block, letters, false)) return stop;
        }
      }
    }
    return next_slowly(p, end, stage);
  }

  static const char* next_slowly(const char* p, const char* end, const SplitStage& stage) {
    const Reader text(end);
    const Char first = text.at(p);
    if (first.flags & letter) return text.letters(p + first.size);
    if (first.ascii == '\'') {
      if (const size_t length = contraction(p, end, true)) return p + length;
    }
    if (first.flags & number) return text.digits(p, stage.max_digits);
    if (!is_newline(first)) {
      const Char second = text.at(p + first.size);
      if (second.flags & letter) return text.letters(p + first.size + second.size);
    }
    return next_other(text, p, first, false);
  }
};

// Matches U*W+ from p like a backtracking engine, where U is `upperish` and W is `lowerish`. Returns nullptr without a
// match.
inline const char* lower_word(const Reader& text, const char* p) {
  const char* both_end = nullptr;  // end of the last character of the U run that is also in W
  Char c = text.at(p);
  for (; c.size != 0 && (c.flags & upperish); c = text.at(p)) {
    p += c.size;
    if (c.flags & lowerish) both_end = p;
  }
  if (c.size != 0 && (c.flags & lowerish)) return text.run_of(p + c.size, lowerish);
  return both_end;
}

// Matches U+W* from p, with the same classes. Returns nullptr without a match.
inline const char* upper_word(const Reader& text, const char* p) {
  const char* upper_end = text.run_of(p, upperish);
  return upper_end == p ? nullptr : text.run_of(upper_end, lowerish);
}

struct O200k {
  static const char* next(const char* p, const char* end, const SplitStage& stage) {
    if (end - p >= AsciiBlock::size) {
      const AsciiBlock block(p);
      const uint32_t lowers = block.lowers(), letters = block.letters();
      const Start start = starts.of[static_cast<uint8_t>(*p)];
      const bool prefixed = start == Start::space || start == Start::other || start == Start::apostrophe;
      if (start == Start::letter || (prefixed && (letters & 2))) {
        int length = prefixed;  // in ASCII, both alternatives of words match capital letters, then lower-case letters
        length += run_length(letters & ~lowers, length);
        length += run_length(lowers, length);
        if (length < AsciiBlock::size && static_cast<uint8_t>(p[length]) < 0x80) {
          const char* word = p + length;
          if (stage.contractions && *word == '\'') word += contraction(word, end, true);
          return word;
        }
      } else if (start == Start::digit) {
        if (stage.max_digits == 1) return p + 1;
      } else if (start != Start::high) {
        if (!prefixed || static_cast<uint8_t>(p[1]) < 0x80) {
          if (const char* stop = short_other(p, block, letters, true)) return stop;
        }
      }
    }
    return next_slowly(p, end, stage);
  }

  static const char* next_slowly(const char* p, const char* end, const SplitStage& stage) {
    const Reader text(end);
    const Char first = text.at(p);
    const bool may_prefix = !is_newline(first) && !(first.flags & (letter | number));
    const char* word = nullptr;
    for (const auto match : {lower_word, upper_word}) {
      if (may_prefix) word = match(text, p + first.size);
      if (word == nullptr) word = match(text, p);
      if (word == nullptr) continue;
      if (stage.contractions && word < end && *word == '\'') word += contraction(word, end, true);
      return word;
    }
    if (first.flags & number) return text.digits(p, stage.max_digits);
    return next_other(text, p, first, true);
  }
};

struct Digits {
  static const char* next(const char* p, const char* end, const SplitStage& stage) {
    const Reader text(end);
    if (text.at(p).flags & number) return text.digits(p, stage.max_digits);
    for (;;) {
      while (end - p >= AsciiBlock::size) {
        const AsciiBlock block(p);
        const uint32_t stops = block.digits() | block.high();
        if (stops != 0) {
          p += lowest_bit(stops);
          break;
        }
        p += AsciiBlock::size;
      }
      for (Char c = text.at(p);; c = text.at(p)) {
        if (c.size == 0 || (c.flags & number)) return p;
        p += c.size;
        if (c.ascii && end - p >= AsciiBlock::size) break;
      }
    }
  }
};

inline bool is_mark(const char* p, const char* end) {  // U+2581
  return end - p >= 3 && p[0] == '\xE2' && p[1] == '\x96' && p[2] == '\x81';
}

// Returns the first U+2581 from p on, or the end.
inline const char* next_mark(const char* p, const char* end) {
  for (;; ++p) {
    p = static_cast<const char*>(std::memchr(p, '\xE2', static_cast<size_t>(end - p)));
    if (p == nullptr) return end;
    if (is_mark(p, end)) return p;
  }
}

struct SpaceRuns {
  static const char* next(const char* p, const char* end, const SplitStage&) {
    while (is_mark(p, end)) p += 3;
    return next_mark(p, end);
  }
};

struct EachSpace {
  static const char* next(const char* p, const char* end, const SplitStage&) { return next_mark(p + 1, end); }
};

}  // namespace heddle::split
