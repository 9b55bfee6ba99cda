#include "tokenizer/splitter.h"

#include "runtime/error.h"
#include "tokenizer/unicode.h"
#include "tokenizer/utf.h"

namespace heddle {
namespace {

using unicode::letter;
using unicode::lowerish;
using unicode::mark;
using unicode::number;
using unicode::space;
using unicode::upperish;

constexpr uint8_t lns = letter | number | space;

// A character at a position: its flags, its size in bytes (0 at the end) and, for ASCII only, its value.
struct Char {
  uint8_t flags = 0;
  uint8_t size = 0;
  uint8_t ascii = 0;  // 0 for anything else
};

class Reader {
 public:
  Reader(const char* end) : table_(unicode::flag_table()), end_(end) {}

  Char at(const char* p) const {
    if (p >= end_) return {};
    const auto byte = static_cast<uint8_t>(*p);
    if (byte < 0x80) return {table_[byte], 1, byte};
    int size = 0;
    const uint32_t code = utf::decode(p, size);
    return {unicode::flags_of(table_, code), static_cast<uint8_t>(size), 0};
  }

  // End of the longest run from p of characters with any of `mask`.
  const char* run_of(const char* p, uint8_t mask) const {
    for (Char c = at(p); c.size != 0 && (c.flags & mask); c = at(p)) p += c.size;
    return p;
  }

  // End of the longest run from p of characters that are neither letter, number nor space.
  const char* run_of_other(const char* p) const {
    for (Char c = at(p); c.size != 0 && !(c.flags & lns); c = at(p)) p += c.size;
    return p;
  }

  // \p{N}{1,most}; most 0: no limit.
  const char* digits(const char* p, int most) const {
    int count = 0;
    for (Char c = at(p); c.size != 0 && (c.flags & number); c = at(p)) {
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

inline bool is_newline(Char c) { return c.ascii == '\n' || c.ascii == '\r'; }

// Length of 's 't 're 've 'm 'll 'd at p, where *p is the apostrophe; 0 if none is there.
size_t contraction(const char* p, const char* end, bool ignore_case) {
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

// \s+(?!\S)|\s+ at p, which is whitespace: all of it before the end of the text, else all but its last character.
const char* whitespace(const Reader& text, const char* p, const char* run_end) {
  if (run_end == text.end()) return run_end;
  const char* last = utf::previous(run_end);
  return last == p ? run_end : last;
}

const char* next_gpt2(const char* p, const char* end, const SplitStage&) {
  const Reader text(end);
  const Char first = text.at(p);
  if (first.ascii == '\'') {
    if (const size_t length = contraction(p, end, false)) return p + length;
  }
  const char* start = first.ascii == ' ' ? p + 1 : p;
  const Char c = first.ascii == ' ' ? text.at(start) : first;
  if (c.size != 0 && !(c.flags & space)) {
    if (c.flags & letter) return text.run_of(start + c.size, letter);
    if (c.flags & number) return text.run_of(start + c.size, number);
    return text.run_of_other(start + c.size);
  }
  return whitespace(text, p, text.run_of(p, space));
}

// What cl100k and o200k share after their words and numbers:
//  ?[^\s\p{L}\p{N}]+[\r\n]* (with `slash` also /) | \s*[\r\n]+ | \s+(?!\S) | \s+
const char* next_other(const Reader& text, const char* p, Char first, bool slash) {
  const char* start = first.ascii == ' ' ? p + 1 : p;
  const Char c = first.ascii == ' ' ? text.at(start) : first;
  if (c.size != 0 && !(c.flags & lns)) {
    p = text.run_of_other(start + c.size);
    for (Char n = text.at(p); is_newline(n) || (slash && n.ascii == '/'); n = text.at(p)) ++p;
    return p;
  }
  const char* newline_end = nullptr;  // just after the last newline of the run
  const char* run_end = p;
  for (Char s = text.at(run_end); s.size != 0 && (s.flags & space); s = text.at(run_end)) {
    run_end += s.size;
    if (is_newline(s)) newline_end = run_end;
  }
  return newline_end != nullptr ? newline_end : whitespace(text, p, run_end);
}

const char* next_cl100k(const char* p, const char* end, const SplitStage& stage) {
  const Reader text(end);
  const Char first = text.at(p);
  if (first.flags & letter) return text.run_of(p + first.size, letter);
  if (first.ascii == '\'') {
    if (const size_t length = contraction(p, end, true)) return p + length;
  }
  if (first.flags & number) return text.digits(p, stage.max_digits);
  if (!is_newline(first)) {
    const Char second = text.at(p + first.size);
    if (second.flags & letter) return text.run_of(p + first.size + second.size, letter);
  }
  return next_other(text, p, first, false);
}

// U*W+ | nothing, from p, as a backtracking engine matches it; nullptr if it does not match.
const char* lower_word(const Reader& text, const char* p) {
  const char* both_end = nullptr;  // end of the last character of the U run that is also in W
  Char c = text.at(p);
  for (; c.size != 0 && (c.flags & upperish); c = text.at(p)) {
    p += c.size;
    if (c.flags & lowerish) both_end = p;
  }
  if (c.size != 0 && (c.flags & lowerish)) return text.run_of(p + c.size, lowerish);
  return both_end;
}

// U+W* from p; nullptr if it does not match.
const char* upper_word(const Reader& text, const char* p) {
  const char* upper_end = text.run_of(p, upperish);
  return upper_end == p ? nullptr : text.run_of(upper_end, lowerish);
}

const char* next_o200k(const char* p, const char* end, const SplitStage& stage) {
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

const char* next_digits(const char* p, const char* end, const SplitStage& stage) {
  const Reader text(end);
  Char c = text.at(p);
  if (c.flags & number) return text.digits(p, stage.max_digits);
  for (; c.size != 0 && !(c.flags & number); c = text.at(p)) p += c.size;
  return p;
}

inline bool is_spm_space(const char* p, const char* end) {
  return end - p >= 3 && p[0] == '\xE2' && p[1] == '\x96' && p[2] == '\x81';
}

const char* next_space_run(const char* p, const char* end, const SplitStage&) {
  while (is_spm_space(p, end)) p += 3;
  for (; p < end; ++p) {
    if (*p == '\xE2' && is_spm_space(p, end)) break;
  }
  return p;
}

const char* next_each_space(const char* p, const char* end, const SplitStage&) {
  for (++p; p < end; ++p) {
    if (*p == '\xE2' && is_spm_space(p, end)) break;
  }
  return p;
}

}  // namespace

NextPiece next_piece_function(SplitKind kind) {
  switch (kind) {
    case SplitKind::gpt2: return next_gpt2;
    case SplitKind::cl100k: return next_cl100k;
    case SplitKind::o200k: return next_o200k;
    case SplitKind::digits: return next_digits;
    case SplitKind::space_runs: return next_space_run;
    case SplitKind::each_space: return next_each_space;
  }
  throw invalid_argument("split: expected a kind from 0 to 5, got " + std::to_string(static_cast<int>(kind)));
}

Splitter::Splitter(std::vector<SplitStage> stages) {
  constexpr size_t most = 8;
  if (stages.size() > most) {
    throw invalid_file("pre_tokenizer: expected at most 8 split stages, got " + std::to_string(stages.size()));
  }
  for (const SplitStage& stage : stages) stages_.push_back({stage, next_piece_function(stage.kind)});
}

}  // namespace heddle
