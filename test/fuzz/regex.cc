// Compiles arbitrary patterns, as tokenizer files may have them, and matches them with arbitrary text. A pattern is
// rejected with a typed error, exceeds the step budget (a typed error too), or matches.
#include "fuzz.h"
#include "tokenizer/regex/regex.h"
#include "tokenizer/text/utf.h"

using namespace heddle;
using namespace heddle::fuzz;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Input in(data, size);
  const bool literal = in.ConsumeIntegralInRange<int>(0, 7) == 0;
  std::string pattern, text;
  utf::append_lossy(in.ConsumeBytesAsString(in.ConsumeIntegralInRange<size_t>(0, 200)), pattern);
  utf::append_lossy(in.ConsumeRemainingBytesAsString(), text);
  std::vector<Regex::Match> matches;
  RegexBudget budget(text.size());
  if (!accepts([&] { Regex(pattern, literal, "pattern").find_all(text, matches, budget); })) return 0;
  size_t at = 0;
  for (const Regex::Match& m : matches) {
    require(m.begin >= at && m.begin <= m.end && m.end <= text.size(), "matches follow one another within the text");
    require(utf::is_well_formed(std::string_view(text).substr(m.begin, m.end - m.begin)), "no character is cut");
    if (literal) require(text.compare(m.begin, m.end - m.begin, pattern) == 0, "a literal matches itself");
    at = m.end;
  }
  return 0;
}
