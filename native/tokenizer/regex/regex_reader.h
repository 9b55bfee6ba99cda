// Reads a pattern character by character: escapes and character classes.
#pragma once
#include <string>
#include <string_view>

#include "tokenizer/regex/regex_class.h"

namespace heddle {

struct RegexOptions {
  bool ignore_case = false, dot_takes_newline = false, extended = false;
};

class RegexReader {
 public:
  RegexReader(std::string_view pattern, const std::string& where) : pattern_(pattern), where_(where) {}

  static constexpr uint32_t end_of_pattern = UINT32_MAX;
  static constexpr int max_depth = 64;

  [[noreturn]] void refuse(const std::string& what) const;
  uint32_t peek() const;  // end_of_pattern at the end
  uint32_t take();
  bool take_if(std::string_view text);

  // Parses a class such as \s or \p{...}. Call with at_ after the backslash. Returns false and consumes nothing if the
  // escape is a single character.
  bool class_escape(RegexClass& set, bool in_class);
  uint32_t character_escape(bool in_class);                    // returns the code point of an escape
  RegexClass bracket(const RegexOptions& options, int depth);  // parses after "[" up to the matching "]"

 protected:
  std::string_view pattern_;
  const std::string& where_;
  size_t at_ = 0;

 private:
  RegexClass property();
  uint32_t hex(size_t least, size_t most);
  uint32_t octal();
  uint32_t checked(uint32_t code) const;
  bool is_class_escape();
  uint32_t class_character();
};

}  // namespace heddle
