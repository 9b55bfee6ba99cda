#include "tokenizer/regex/regex_class.h"

namespace heddle {

bool RegexClass::compute(uint32_t code) const {
  bool found = false;
  for (const Term& term : terms_) {
    bool in = false;
    switch (term.kind) {
      case Kind::range: in = code >= term.a && code <= term.b; break;
      case Kind::categories: in = term.a >> (unicode::properties()[code] & unicode::category_mask) & 1; break;
      case Kind::property: in = (unicode::properties()[code] & term.a) != 0; break;
      case Kind::script: in = unicode::scripts()[code] == term.a; break;
      case Kind::nested: in = term.nested[0].compute(code); break;
    }
    if (in != term.inverted) {
      found = true;
      break;
    }
  }
  for (const RegexClass& other : all_of_) found = found && other.compute(code);
  return found != inverted_;
}

bool RegexClass::has_beyond_ascii(uint32_t code) const { return compute(code); }

void RegexClass::ignore_case() {
  RegexClass folded;
  for (uint32_t letter = 'a'; letter <= 'z'; ++letter) {
    const uint32_t upper = letter - 32;
    const uint32_t sign = letter == 's' ? 0x17F : letter == 'k' ? 0x212A : letter;
    if (!compute(letter) && !compute(upper) && !compute(sign)) continue;
    folded.add_range(letter, letter);
    folded.add_range(upper, upper);
    folded.add_range(sign, sign);
  }
  RegexClass before;
  std::swap(before, *this);
  add_class(before);
  add_class(folded);
}

void RegexClass::finish() {
  for (uint32_t code = 0; code < 128; ++code) ascii_[code] = compute(code);
}

}  // namespace heddle
