// A text during normalization and pre-tokenization, with the origin of each of its bytes.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/cancellation.h"

namespace heddle {

class RegexBudget;

struct Origin {
  uint32_t begin, end;  // byte range of the original text
};

// A character of the new text, and the nonempty range of the old text that it replaces, in bytes. The range holds whole
// characters. Ranges may overlap, and removed text may lie between them.
struct Change {
  uint32_t code;
  uint32_t begin, end;
};

// Appends `code`, which replaces the character of `size` bytes at `begin`.
inline void put(std::vector<Change>& changes, uint32_t code, size_t begin, size_t size) {
  changes.push_back({code, static_cast<uint32_t>(begin), static_cast<uint32_t>(begin + size)});
}

// Removes the old text up to `end`. It is added to the origin of the character before it, so that offsets have no gaps.
inline void drop(std::vector<Change>& changes, size_t end) {
  if (!changes.empty()) changes.back().end = static_cast<uint32_t>(end);
}

class NormalizedText {
 public:
  // Records origins only if `tracked`.
  void assign(std::string_view text, size_t offset, bool tracked);

  std::string text;             // well-formed UTF-8
  std::vector<Origin> origins;  // one per byte, if tracked
  bool tracked = false;
  bool continues = false;  // continues an earlier text, so no step adds a word prefix (U+2581 or a space)
  uint32_t start = 0;      // where the first word begins: after leading text that a Charsmap deleted

  // Throws INVALID_FILE if `size`, in bytes or characters, is above `limit`. The limit stops untrusted files whose many
  // steps each lengthen the text. Unicode normalization needs at most 11 times the text's length.
  void check_growth(size_t size) const;
  size_t limit = SIZE_MAX;  // assign() sets it to 32 times the text's bytes, plus 16 KiB

  RegexBudget* regex_budget = nullptr;  // for the whole text; set before steps run
  Cancellation cancellation;            // steps that may take long throw ABORTED soon after it is requested

  // Replaces the whole text by the characters of `changes`, whose ranges must have ascending beginnings.
  void transform(const std::vector<Change>& changes);

  // Prepends `content` to a nonempty text. The origin of its bytes is the empty range before the first character.
  void prepend(std::string_view content);
};

// Builds a new text from parts of another one.
class TextBuilder {
 public:
  explicit TextBuilder(const NormalizedText& from) : from_(from) {
    out_.tracked = from.tracked, out_.start = from.start, out_.continues = from.continues, out_.limit = from.limit;
    out_.cancellation = from.cancellation, out_.regex_budget = from.regex_budget;
  }
  size_t size() const { return out_.text.size(); }
  void keep(size_t begin, size_t end);                           // appends [begin, end) of the old text
  void put(std::string_view content, size_t begin, size_t end);  // appends content that replaces [begin, end) of it
  NormalizedText take() { return std::move(out_); }

 private:
  const NormalizedText& from_;
  NormalizedText out_;
};

}  // namespace heddle
