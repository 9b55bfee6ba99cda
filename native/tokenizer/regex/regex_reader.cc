#include "tokenizer/regex/regex_reader.h"

#include "tokenizer/regex/regex_names.h"
#include "tokenizer/regex/regex_tree.h"
#include "tokenizer/text/utf.h"

namespace heddle {
namespace {

int hex_value(uint32_t c) {
  return c >= '0' && c <= '9'   ? static_cast<int>(c - '0')
         : c >= 'a' && c <= 'f' ? static_cast<int>(c - 'a') + 10
         : c >= 'A' && c <= 'F' ? static_cast<int>(c - 'A') + 10
                                : -1;
}

}  // namespace

void RegexReader::refuse(const std::string& what) const { refuse_regex(where_, what, pattern_); }

uint32_t RegexReader::peek() const {
  if (at_ >= pattern_.size()) return end_of_pattern;
  int size = 0;
  return utf::decode(pattern_.data() + at_, size);
}
uint32_t RegexReader::take() {
  if (at_ >= pattern_.size()) refuse("an unexpected end");
  int size = 0;
  const uint32_t code = utf::decode(pattern_.data() + at_, size);
  at_ += static_cast<size_t>(size);
  return code;
}
bool RegexReader::take_if(std::string_view text) {
  if (pattern_.substr(at_, text.size()) != text) return false;
  at_ += text.size();
  return true;
}

bool RegexReader::class_escape(RegexClass& set, bool in_class) {
  const uint32_t c = peek();
  const uint32_t lower = c >= 'A' && c <= 'Z' ? c + 32 : c;
  const bool inverted = c != lower;
  RegexClass inner;
  switch (lower) {
    case 's': add_space(inner); break;
    case 'd': inner.add_categories(regex_category("Nd")); break;
    case 'w':
      if (in_class) add_word(inner);
      else inner.add_property(unicode::word_character);
      break;
    case 'h':
      inner.add_range('0', '9');
      inner.add_range('a', 'f');
      inner.add_range('A', 'F');
      break;
    case 'p':
      ++at_;
      set.add_class(property(), inverted);
      return true;
    default: return false;
  }
  ++at_;
  set.add_class(inner, inverted);
  return true;
}

// Parses {Name} or {^Name} after \p.
RegexClass RegexReader::property() {
  if (!take_if("{")) refuse("\\p without {");
  const bool inverted = take_if("^");
  const size_t end = pattern_.find('}', at_);
  if (end == std::string_view::npos || end - at_ > 40) refuse("\\p without }");
  const std::string_view name = pattern_.substr(at_, end - at_);
  at_ = end + 1;
  RegexClass set;
  if (!name_class(name, set, false)) refuse("\\p{" + std::string(name) + "}");
  if (inverted) set.invert();
  return set;
}

uint32_t RegexReader::hex(size_t least, size_t most) {
  uint32_t value = 0;
  size_t count = 0;
  for (; count < most && at_ < pattern_.size() && hex_value(static_cast<uint8_t>(pattern_[at_])) >= 0; ++count, ++at_) {
    value = 16 * value + static_cast<uint32_t>(hex_value(static_cast<uint8_t>(pattern_[at_])));
  }
  if (count < least) refuse("an escape with too few digits");
  return value;
}

uint32_t RegexReader::character_escape(bool in_class) {
  const uint32_t c = take();
  switch (c) {
    case 'n': return '\n';
    case 'r': return '\r';
    case 't': return '\t';
    case 'f': return '\f';
    case 'v': return '\v';
    case 'a': return 7;
    case 'e': return 27;
    case 'b':
      if (in_class) return 8;
      break;
    case '0': return octal();
    case 'u': return checked(hex(4, 4));
    case 'x':
      if (take_if("{")) {
        const uint32_t code = hex(1, 8);
        if (!take_if("}")) refuse("\\x{ without }");
        return checked(code);
      } else {
        const uint32_t code = hex(1, 2);
        if (code >= 128) refuse("\\x with a byte beyond ASCII");
        return code;
      }
    default: break;
  }
  if ((c >= '1' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) {
    refuse(std::string("\\") + static_cast<char>(c));
  }
  return c;  // an escaped literal, such as \'
}

uint32_t RegexReader::octal() {
  uint32_t value = 0;
  for (int i = 0; i < 2 && peek() >= '0' && peek() <= '7'; ++i) value = 8 * value + (take() - '0');
  return value;
}

uint32_t RegexReader::checked(uint32_t code) const {
  if (code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF)) refuse("an escape of an invalid code point");
  return code;
}

RegexClass RegexReader::bracket(const RegexOptions& options, int depth) {
  if (depth > max_depth) refuse("deep nesting");
  RegexClass set;
  const bool inverted = take_if("^");
  std::vector<RegexClass> others;  // the operands of &&
  for (bool first = true;; first = false) {
    if (!first && take_if("]")) break;
    if (take_if("&&")) {
      others.push_back(std::move(set));
      set = RegexClass();
      first = true;
      continue;
    }
    if (take_if("[:")) {
      const bool no = take_if("^");
      const size_t end = pattern_.find(":]", at_);
      RegexClass posix;
      if (end == std::string_view::npos || end - at_ > 20 ||
          !name_class(pattern_.substr(at_, end - at_), posix, true)) {
        refuse("an unknown name in [: :]");
      }
      at_ = end + 2;
      set.add_class(posix, no);
      continue;
    }
    if (take_if("[")) {
      set.add_class(bracket(options, depth + 1));
      continue;
    }
    if (peek() == '\\') {
      ++at_;
      if (class_escape(set, true)) continue;
      --at_;
    }
    const uint32_t begin = class_character();
    if (peek() == '-' && at_ + 1 < pattern_.size() && pattern_[at_ + 1] != ']') {
      const size_t before = at_++;
      if (peek() == '[' || (peek() == '\\' && is_class_escape())) {
        at_ = before;  // the "-" is a literal
        set.add_range(begin, begin);
        continue;
      }
      const uint32_t end = class_character();
      if (end < begin) refuse("a character range in descending order");
      // ASCII letters are folded below. Characters from U+2E80 to U+A63F have no case (may_have_case).
      const bool caseless = end < 128 || (!may_have_case(begin) && begin >= 0x2E80 && end < 0xA640);
      if (options.ignore_case && !caseless) refuse("(?i) with a range of letters beyond ASCII");
      set.add_range(begin, end);
      continue;
    }
    set.add_range(begin, begin);
  }
  if (options.ignore_case) {  // before the negation, so that (?i)[^a] excludes A
    set.ignore_case();
    for (RegexClass& other : others) other.ignore_case();
  }
  for (const RegexClass& other : others) set.intersect(other);
  if (inverted) set.invert();
  return set;
}

bool RegexReader::is_class_escape() {
  const size_t before = at_++;
  RegexClass ignored;
  const bool is = class_escape(ignored, true);
  at_ = before;
  return is;
}

uint32_t RegexReader::class_character() {
  const uint32_t c = take();
  return c == '\\' ? character_escape(true) : c;
}

}  // namespace heddle
