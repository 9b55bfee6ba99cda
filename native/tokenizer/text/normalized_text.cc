#include "tokenizer/text/normalized_text.h"

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "tokenizer/text/utf.h"

namespace heddle {

namespace {
constexpr size_t growth = 32, spare = 1 << 14;
}  // namespace

void NormalizedText::check_growth(size_t size) const {
  if (size <= limit) return;
  throw invalid_file("normalizer, pre_tokenizer: expected a text to grow to at most " + std::to_string(growth) +
                     " times its length plus " + std::to_string(spare) + " bytes, got more than " +
                     std::to_string(limit) + " bytes");
}

void NormalizedText::assign(std::string_view from, size_t offset, bool with_origins) {
  text.assign(from);
  limit = growth * from.size() + spare;
  tracked = with_origins;
  start = 0;
  origins.clear();
  if (!tracked) return;
  origins.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    const auto size = static_cast<size_t>(utf::sequence_length(text[i]));
    const Origin origin{static_cast<uint32_t>(offset + i), static_cast<uint32_t>(offset + i + size)};
    origins.insert(origins.end(), size, origin);
    i += size;
  }
}

void NormalizedText::transform(const std::vector<Change>& changes) {
  check_growth(changes.size());
  std::string new_text;
  new_text.reserve(text.size());
  if (!tracked) {
    for (const Change& change : changes) utf::append_code(change.code, new_text);
    text = std::move(new_text);
    return;
  }
  std::vector<Origin> new_origins;
  new_origins.reserve(origins.size());
  Origin origin{0, 0};
  for (const Change& change : changes) {
    // Composition may combine a character with a later mark and skip the marks between. The composed character's origin
    // then ends after those of the skipped marks. The maximum keeps the ends ascending, like the beginnings.
    origin = {origins[change.begin].begin, std::max(origin.end, origins[change.end - 1].end)};
    const size_t before = new_text.size();
    utf::append_code(change.code, new_text);
    new_origins.insert(new_origins.end(), new_text.size() - before, origin);
  }
  text = std::move(new_text);
  origins = std::move(new_origins);
}

void NormalizedText::prepend(std::string_view content) {
  if (text.empty()) return;
  check_growth(text.size() + content.size());
  text.insert(0, content);
  if (tracked) {
    origins.insert(origins.begin(), content.size(), {origins[0].begin, origins[0].begin});
  }
}

void TextBuilder::keep(size_t begin, size_t end) {
  out_.text.append(from_.text, begin, end - begin);
  if (out_.tracked) {
    out_.origins.insert(out_.origins.end(), from_.origins.begin() + static_cast<std::ptrdiff_t>(begin),
        from_.origins.begin() + static_cast<std::ptrdiff_t>(end));
  }
}

void TextBuilder::put(std::string_view content, size_t begin, size_t end) {
  out_.text += content;
  if (!out_.tracked) return;
  Origin origin{0, 0};
  if (begin < end) origin = {from_.origins[begin].begin, from_.origins[end - 1].end};
  else if (begin < from_.origins.size()) origin = {from_.origins[begin].begin, from_.origins[begin].begin};
  else if (begin > 0) origin = {from_.origins[begin - 1].end, from_.origins[begin - 1].end};
  out_.origins.insert(out_.origins.end(), content.size(), origin);
}

}  // namespace heddle
