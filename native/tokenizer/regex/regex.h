// Regular expressions of tokenizer files, with the syntax and semantics of Oniguruma's Ruby mode, without
// back-references. The matcher backtracks over a small program and never retries a failed state. A match therefore
// costs at most (length of the program) x (length of the text). A budget of steps bounds all matches of a text
// together.
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/regex/regex_class.h"

namespace heddle {

struct RegexInstruction {
  enum class Op : uint8_t {
    character,  // code x
    set,        // sets[x]
    span,       // sets[x], at least y and at most z (0: no limit) of them, the most first
    span_all,   // the same, never fewer again
    split,      // goes on at x, then at y
    jump,       // x
    line_begin,
    line_end,
    text_begin,
    text_end,
    text_end_or_newline,
    word_boundary,
    no_word_boundary,
    ahead,
    not_ahead,  // the program from here + 1 must (not) match; goes on at x
    behind,
    not_behind,  // the same from y characters before, ending here
    atomic,      // the same, going on where its first match ends
    match
  };
  Op op;
  uint32_t x = 0, y = 0, z = 0;
};

struct RegexProgram {
  std::vector<RegexInstruction> code;
  std::vector<RegexClass> sets;
};

// Throws UNSUPPORTED, naming `where` and the pattern, for what it does not know, and INVALID_FILE for what is too
// large.
RegexProgram compile_regex(std::string_view pattern, const std::string& where);

// Steps that all searches within one text share, whatever pieces it is cut into. A megabyte has less than a second.
class RegexBudget {
 public:
  static constexpr uint64_t base_steps = 1 << 24;
  static constexpr uint64_t steps_a_byte = 64;
  explicit RegexBudget(size_t bytes) : bytes_(bytes), left_(steps()) {}
  // For texts that arrive in parts.
  void grow(size_t bytes) {
    bytes_ += bytes;
    left_ += steps_a_byte * bytes;
  }
  uint64_t steps() const { return base_steps + steps_a_byte * bytes_; }
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

  // Matches of the text from left to right, without an empty one just after the last. Throws INVALID_FILE, naming the
  // cap, when the budget of the text that `text` is a part of is spent. Offsets in bytes.
  struct Match {
    size_t begin, end;
  };
  // Throws ABORTED soon after `cancelled` is set.
  void find_all(std::string_view text, std::vector<Match>& out, RegexBudget& budget,
      const std::atomic<bool>* cancelled = nullptr) const;

  // Whether a match may begin with this character, or be empty before it.
  bool may_begin_with(uint32_t code) const;

 private:
  std::string where_, pattern_;
  bool literal_;
  RegexProgram program_;
  bool can_start_[256];  // whether a match can begin with that byte
  bool can_be_empty_ = false;
};

}  // namespace heddle
