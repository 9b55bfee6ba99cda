#include "core/platform/number_text.h"

#include <locale.h>
#include <stdlib.h>

namespace heddle {

double parse_number(const char* text, char** end) {
  static const _locale_t plain = _create_locale(LC_ALL, "C");
  return _strtod_l(text, end, plain);
}

}  // namespace heddle
