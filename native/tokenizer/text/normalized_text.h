// A stretch of text on its way through normalizers and pre-tokenizers, with the origin of each of its bytes.
#pragma once
#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace heddle {

class RegexBudget;

struct Origin {
  uint32_t begin, end;  // bytes of the text that the user gave
};

// A character of the new text. `change`, as in Hugging Face's NormalizedString: 0 it replaces the next old one,
// 1 it is inserted, -n it replaces the next old one and the n after that are gone.
struct Change {
  uint32_t code;
  int change;
};

class NormalizedText {
 public:
  // Origins are recorded only if `tracked`.
  void assign(std::string_view text, size_t offset, bool tracked);

  std::string text;             // well-formed UTF-8
  std::vector<Origin> origins;  // one a byte, if tracked
  bool tracked = false;
  bool continues = false;  // another text precedes it: no step puts a mark or a space before its first character

  // Steps in a row may each make a text longer, and the files that name them come from strangers: throws INVALID_FILE
  // for a size, or a number of characters, beyond 32 times the bytes that were assigned. The longest decomposition of a
  // character is 11 times it.
  void check_growth(size_t size) const;
  size_t limit = SIZE_MAX;

  RegexBudget* regex_budget = nullptr;           // of the whole text; set before steps run
  const std::atomic<bool>* cancelled = nullptr;  // steps that may take long throw ABORTED soon after it is set

  // Replaces all of the text, of which the first `removed` characters leave nothing behind.
  void transform(const std::vector<Change>& changes, size_t removed);

  // Prepends `content` to a nonempty text. Its offsets are empty.
  void prepend(std::string_view content);
};

// Builds a new text of parts of another.
class TextBuilder {
 public:
  explicit TextBuilder(const NormalizedText& from) : from_(from) {
    out_.tracked = from.tracked, out_.continues = from.continues, out_.limit = from.limit;
    out_.cancelled = from.cancelled, out_.regex_budget = from.regex_budget;
  }
  size_t size() const { return out_.text.size(); }
  void keep(size_t begin, size_t end);
  void put(std::string_view content, size_t begin, size_t end);  // replaces [begin, end) of the old text
  NormalizedText take() { return std::move(out_); }

 private:
  const NormalizedText& from_;
  NormalizedText out_;
};

}  // namespace heddle
