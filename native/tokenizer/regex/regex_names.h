// Sets of characters by their names in regular expressions.
#pragma once
#include <string_view>

#include "tokenizer/regex/regex_class.h"

namespace heddle {

uint32_t regex_category(std::string_view name);  // bits of the categories whose names begin with `name`

void add_word(RegexClass& set);   // \w inside a class
void add_space(RegexClass& set);  // \s

// Adds the characters of \p{name} or [[:name:]]. Returns false for an unknown name.
bool name_class(std::string_view name, RegexClass& set, bool in_class);

// Whether a character may have another case, so that (?i) matches more than the character itself.
bool may_have_case(uint32_t code);

}  // namespace heddle
