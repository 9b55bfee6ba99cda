// Regular expressions of tokenizer files, with the syntax and semantics of Oniguruma's Ruby mode, without
// back-references. The matcher backtracks over a small program. After 512 steps it remembers the states that have
// failed, and does not retry them. Apart from these steps, a match therefore tries at most (length of the program) ×
// (length of the text) states. A budget of steps limits all matches of a text together.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/cancellation.h"
#include "tokenizer/regex/regex_class.h"

namespace heddle {

struct RegexInstruction {
  enum class Op : uint8_t {
    character,  // matches code point x
    set,        // matches a character of sets[x]
    span,       // matches at least y and at most z (0: no limit) characters of sets[x], the longest first
    span_all,   // like span, but never backtracks to fewer
    split,      // continues at x, then at y
    jump,       // continues at x
    line_begin,
    line_end,
    text_begin,
    text_end,
    text_end_or_newline,
    word_boundary,
    no_word_boundary,
    ahead,      // continues at x if the program from the next instruction on matches
    not_ahead,  // continues at x if that program does not match
    behind,     // like ahead, but that program starts y characters back and must end at the current position
    not_behind,
    atomic,  // like ahead, but continues where the first match ends
    match
  };
  Op op;
  uint32_t x = 0, y = 0, z = 0;
};

struct RegexProgram {
  std::vector<RegexInstruction> code;
  std::vector<RegexClass> sets;
};

// Throws UNSUPPORTED with `where` and the pattern for unsupported syntax, and INVALID_FILE for patterns that are too
// large.
RegexProgram compile_regex(std::string_view pattern, const std::string& where);

// The number of steps that all searches within one text share, however the text is split. The constants keep the time
// for a megabyte of text below a second.
class RegexBudget {
 public:
  static constexpr uint64_t base_steps = 1 << 24;
  static constexpr uint64_t steps_per_byte = 64;
  explicit RegexBudget(size_t bytes) : bytes_(bytes), left_(steps()) {}
  // Adds bytes of a text that arrives in parts.
  void grow(size_t bytes) {
    bytes_ += bytes;
    left_ += steps_per_byte * bytes;
  }
  uint64_t steps() const { return base_steps + steps_per_byte * bytes_; }
  uint64_t left() const { return left_; }
  size_t bytes() const { return bytes_; }
  void spend(uint64_t steps) { left_ -= steps < left_ ? steps : left_; }

 private:
  size_t bytes_;
  uint64_t left_;
};

class Regex {
 public:
  Regex(std::string_view pattern, bool literal, const std::string& where);

  // The range of a match, in bytes.
  struct Match {
    size_t begin, end;
  };
  // Finds matches from left to right, without an empty match directly after the last match. Throws INVALID_FILE
  // if the budget is used up, and ABORTED soon after cancellation is requested.
  void find_all(
      std::string_view text, std::vector<Match>& out, RegexBudget& budget, const Cancellation& cancellation = {}) const;

  // Whether a match may begin with this character, or be empty before it.
  bool may_begin_with(uint32_t code) const;

 private:
  std::string where_, pattern_;
  bool literal_;
  RegexProgram program_;
  bool can_start_[256];  // by byte: whether a nonempty match can begin with it
  bool can_be_empty_ = false;
};

}  // namespace heddle
