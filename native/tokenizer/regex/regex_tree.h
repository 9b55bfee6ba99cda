// The syntax tree of a pattern. regex_parse.cc builds it, and regex_compile.cc compiles it.
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/regex/regex_class.h"

namespace heddle {

struct RegexNode {
  enum class Kind : uint8_t {
    empty,
    character,
    set,
    sequence,
    alternatives,
    repeat,
    ahead,
    not_ahead,
    behind,
    not_behind,
    atomic,
    line_begin,
    line_end,
    text_begin,
    text_end,
    text_end_or_newline,
    word_boundary,
    no_word_boundary
  };
  enum class Greed : uint8_t { most, least, possessive };

  Kind kind = Kind::empty;
  uint32_t code = 0;
  RegexClass set;
  std::vector<std::unique_ptr<RegexNode>> parts;
  uint32_t least = 0, most = 0;  // for `repeat`; most 0: no limit
  Greed greed = Greed::most;
};

// Throws UNSUPPORTED for unsupported syntax.
std::unique_ptr<RegexNode> parse_regex(std::string_view pattern, const std::string& where);

// Throws UNSUPPORTED "WHERE: WHAT in the pattern PATTERN is not supported".
[[noreturn]] void refuse_regex(const std::string& where, const std::string& what, std::string_view pattern);

}  // namespace heddle
