#include "tokenizer/text/unicode_normalizer.h"

#include <algorithm>

#include "tokenizer/text/characters.h"
#include "tokenizer/text/unicode_forms.h"

namespace heddle {
namespace {

// The length of a long text's decomposition is extrapolated from this number of bytes at its beginning.
constexpr size_t sample_bytes = 1 << 14;

// Returns the decomposition in canonical order (section 3.11 of the Unicode Standard).
std::vector<Change> decomposed(std::string_view text, bool compatible) {
  struct Mark {
    Change change;
    uint8_t rank;
  };
  std::vector<Change> out;
  std::vector<Mark> marks;  // marks since the last starter
  const auto flush = [&] {
    const auto lower = [](const Mark& a, const Mark& b) { return a.rank < b.rank; };
    if (!std::is_sorted(marks.begin(), marks.end(), lower)) {
      // A reordered mark takes the beginning of the mark whose place it has, as in Hugging Face's tokenizers, so that
      // the beginnings ascend. All ranges end where the last mark ends.
      const uint32_t end = marks.back().change.end;
      std::vector<uint32_t> begins;
      for (const Mark& mark : marks) begins.push_back(mark.change.begin);
      std::stable_sort(marks.begin(), marks.end(), lower);
      for (size_t i = 0; i < marks.size(); ++i) marks[i].change.begin = begins[i], marks[i].change.end = end;
    }
    for (const Mark& mark : marks) out.push_back(mark.change);
    marks.clear();
  };
  const auto add = [&](const Change& change) {
    const uint8_t rank = unicode::combining_rank(change.code);
    if (rank == 0) flush();
    if (rank == 0) out.push_back(change);
    else marks.push_back({change, rank});
  };
  for_each_character(text, [&](uint32_t code, size_t from, size_t size) {
    // Makes few allocations for a long text, because each new one causes page faults. Reserves at most sixteen times
    // the old capacity, because the rest of the text may differ from its beginning.
    if (out.size() + unicode::decomposition_limit > out.capacity() && from >= sample_bytes) {
      const size_t predicted = text.size() / sample_bytes * (out.size() * sample_bytes / from + 64);
      out.reserve(std::clamp(predicted, 2 * out.capacity(), 16 * out.capacity()));
    }
    const auto begin = static_cast<uint32_t>(from), end = static_cast<uint32_t>(from + size);
    uint32_t parts[unicode::decomposition_limit];
    const int count = unicode::decompose(code, compatible, parts);
    if (count == 0) add({code, begin, end});
    for (int i = 0; i < count; ++i) add({parts[i], begin, end});
  });
  flush();
  return out;
}

// Composes starters with following characters that are not blocked (section 3.11, D117).
std::vector<Change> composed(const std::vector<Change>& from) {
  std::vector<Change> out;
  out.reserve(from.size());
  constexpr size_t none = SIZE_MAX;
  size_t starter = none;  // its index in `out`
  uint8_t last = 0;       // combining rank of the last mark between the starter and the current character; 0: none
  for (const Change& change : from) {
    const uint8_t rank = unicode::combining_rank(change.code);
    const bool blocked = last != 0 && last >= rank;
    if (starter != none && !blocked) {
      if (const uint32_t together = unicode::compose(out[starter].code, change.code)) {
        out[starter].code = together;
        out[starter].end = std::max(out[starter].end, change.end);
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
  if (!is_ascii(text.text)) text.transform(decomposed(text.text, compatible));
}

void compose_text(NormalizedText& text, bool compatible) {
  if (!is_ascii(text.text)) text.transform(composed(decomposed(text.text, compatible)));
}

}  // namespace heddle
