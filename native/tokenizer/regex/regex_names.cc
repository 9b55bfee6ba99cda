#include "tokenizer/regex/regex_names.h"

#include <algorithm>
#include <iterator>
#include <string>
#include <utility>

namespace heddle {

// Inside a class, Oniguruma's \w excludes the superscripts and fractions of Latin-1, which it matches elsewhere.
void add_word(RegexClass& set) {
  set.add_property(unicode::alphabetic);
  set.add_categories(regex_category("M") | regex_category("Nd") | regex_category("Pc"));
}

void add_space(RegexClass& set) {
  set.add_categories(regex_category("Z"));
  set.add_range('\t', '\r');
  set.add_range(0x85, 0x85);
}

uint32_t regex_category(std::string_view name) {
  uint32_t mask = 0;
  for (size_t i = 0; i < std::size(unicode::category_names); ++i) {
    if (unicode::category_names[i].substr(0, name.size()) == name) mask |= 1u << i;
  }
  return mask;
}

bool name_class(std::string_view name, RegexClass& set, bool in_class) {
  const auto is = [&](std::string_view other) {
    return name.size() == other.size() &&
           std::equal(name.begin(), name.end(), other.begin(), [](char a, char b) { return (a | 0x20) == (b | 0x20); });
  };
  static constexpr std::pair<std::string_view, std::string_view> longer[] = {{"Letter", "L"}, {"Mark", "M"},
      {"Number", "N"}, {"Punctuation", "P"}, {"Symbol", "S"}, {"Separator", "Z"}, {"Other", "C"},
      {"Uppercase_Letter", "Lu"}, {"Lowercase_Letter", "Ll"}, {"Decimal_Number", "Nd"}};
  for (const auto& [full, brief] : longer) {
    if (is(full)) name = brief;
  }
  if (name.size() <= 2) {
    const std::string exact = name.size() == 2
                                  ? std::string{static_cast<char>(name[0] & ~0x20), static_cast<char>(name[1] | 0x20)}
                                  : std::string{static_cast<char>(name[0] & ~0x20)};
    const uint32_t mask = name.empty() ? 0 : regex_category(exact);
    if (mask != 0) {
      set.add_categories(mask);
      return true;
    }
  }
  if (is("Word") && in_class) add_word(set);
  else if (is("Alphabetic") || is("Alpha")) set.add_property(unicode::alphabetic);
  else if (is("Word")) set.add_property(unicode::word_character);
  else if (is("Punct")) set.add_property(unicode::posix_punct);
  else if (is("Space") || is("White_Space")) add_space(set);
  else if (is("Digit")) set.add_categories(regex_category("Nd"));
  else if (is("Cntrl")) set.add_categories(regex_category("Cc"));
  else if (is("ASCII")) set.add_range(0, 127);
  else if (is("Any")) set.add_range(0, 0x10FFFF);
  else if (is("Alnum")) {
    set.add_property(unicode::alphabetic);
    set.add_categories(regex_category("Nd"));
  } else if (is("XDigit")) {
    set.add_range('0', '9');
    set.add_range('a', 'f');
    set.add_range('A', 'F');
  } else if (is("Blank")) {
    set.add_range('\t', '\t');
    set.add_categories(regex_category("Zs"));
  } else if (const uint8_t script = unicode::script_named(name)) {
    set.add_script(script);
  } else {
    return false;
  }
  return true;
}

// Returns true for letters and marks, and for Roman numerals and circled letters (in Nl and So). The range
// U+2E80..U+A63F, which has the East Asian scripts, has no case.
bool may_have_case(uint32_t code) {
  constexpr uint32_t numbers_and_symbols = 1u << 14 | 1u << 26;  // Nl and So: indices in category_names
  const uint32_t category_bit = 1u << (unicode::properties()[code] & unicode::category_mask);
  if (code >= 0x2E80 && code < 0xA640) return false;
  return (category_bit & (regex_category("L") | regex_category("M") | numbers_and_symbols)) != 0;
}

}  // namespace heddle
