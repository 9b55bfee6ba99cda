#include "tokenizer/text/unicode_normalizer.h"

#include <algorithm>

#include "tokenizer/text/characters.h"
#include "tokenizer/text/unicode_forms.h"

namespace heddle {
namespace {

// Returns the decomposition in canonical order (section 3.11 of the Unicode Standard).
std::vector<Change> decomposed(std::string_view text, bool compatible) {
  struct Mark {
    Change change;
    uint8_t rank;
  };
  std::vector<Change> out;
  std::vector<Mark> marks;  // marks since the last starter
  const auto flush = [&] {
    std::stable_sort(marks.begin(), marks.end(), [](const Mark& a, const Mark& b) { return a.rank < b.rank; });
    for (const Mark& mark : marks) out.push_back(mark.change);
    marks.clear();
  };
  const auto add = [&](uint32_t code, int change) {
    const uint8_t rank = unicode::combining_rank(code);
    if (rank == 0) flush();
    if (rank == 0) out.push_back({code, change});
    else marks.push_back({{code, change}, rank});
  };
  for_each_character(text, [&](uint32_t code, size_t, size_t) {
    uint32_t parts[unicode::decomposition_limit];
    const int count = unicode::decompose(code, compatible, parts);
    if (count == 0) add(code, 0);
    for (int i = 0; i < count; ++i) add(parts[i], i > 0);
  });
  flush();
  return out;
}

// Composes starters with following characters that are not blocked (section 3.11, D117).
std::vector<Change> composed(const std::vector<Change>& from) {
  std::vector<Change> out;
  constexpr size_t none = SIZE_MAX;
  size_t starter = none;  // its index in `out`
  uint8_t last = 0;       // combining rank of the last mark between the starter and the current character; 0: none
  for (const Change& change : from) {
    const uint8_t rank = unicode::combining_rank(change.code);
    const bool blocked = last != 0 && last >= rank;
    if (starter != none && !blocked) {
      if (const uint32_t together = unicode::compose(out[starter].code, change.code)) {
        out[starter].code = together;
        out[starter].change += change.change - 1;  // the starter also replaces the character that it absorbs
        continue;
      }
    }
    out.push_back(change);
    if (rank == 0) {
      starter = out.size() - 1;
      last = 0;
    } else {
      last = rank;
    }
  }
  return out;
}

}  // namespace

void decompose_text(NormalizedText& text, bool compatible) {
  if (!is_ascii(text.text)) text.transform(decomposed(text.text, compatible), 0);
}

void compose_text(NormalizedText& text, bool compatible) {
  if (!is_ascii(text.text)) text.transform(composed(decomposed(text.text, compatible)), 0);
}

}  // namespace heddle
