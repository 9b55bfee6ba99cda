// Numbers in text, whatever the process's locale.
#pragma once

namespace heddle {

// Parses a decimal number as strtod does in the C locale. `end` is set to the first character after it.
double parse_number(const char* text, char** end);

}  // namespace heddle
