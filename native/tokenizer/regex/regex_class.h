// Sets of code points: character classes of regular expressions.
#pragma once
#include <cstdint>
#include <vector>

#include "tokenizer/text/unicode.h"

namespace heddle {

class RegexClass {
 public:
  bool has(uint32_t code) const { return code < 128 ? ascii_[code] : has_beyond_ascii(code); }

  void add_range(uint32_t first, uint32_t last) { terms_.push_back({Kind::range, false, first, last, {}}); }
  void add_categories(uint32_t mask, bool inverted = false) {
    terms_.push_back({Kind::categories, inverted, mask, 0, {}});
  }
  void add_property(uint32_t bit, bool inverted = false) { terms_.push_back({Kind::property, inverted, bit, 0, {}}); }
  void add_script(uint32_t script, bool inverted = false) { terms_.push_back({Kind::script, inverted, script, 0, {}}); }
  void add_class(const RegexClass& other, bool inverted = false) {
    terms_.push_back({Kind::nested, inverted, 0, 0, {other}});
  }
  void intersect(const RegexClass& other) { all_of_.push_back(other); }
  void invert() { inverted_ = !inverted_; }
  void ignore_case();  // adds the other case of ASCII letters, and U+017F and U+212A, which fold to "s" and "k"

  void finish();  // fills the table for ASCII; call after the last change

 private:
  enum class Kind : uint8_t { range, categories, property, script, nested };
  struct Term {
    Kind kind;
    bool inverted;
    uint32_t a, b;
    std::vector<RegexClass> nested;
  };
  bool compute(uint32_t code) const;
  bool has_beyond_ascii(uint32_t code) const;

  std::vector<Term> terms_;
  std::vector<RegexClass> all_of_;
  bool inverted_ = false;
  bool ascii_[128] = {};
};

}  // namespace heddle
