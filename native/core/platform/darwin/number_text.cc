#include "core/platform/number_text.h"

#include <xlocale.h>
#include <stdlib.h>

namespace heddle {

double parse_number(const char* text, char** end) {
  static const locale_t plain = newlocale(LC_ALL_MASK, "C", nullptr);
  return strtod_l(text, end, plain);
}

}  // namespace heddle
