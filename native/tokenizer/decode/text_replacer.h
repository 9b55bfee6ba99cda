// Replaces a string in a text that arrives in parts.
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace heddle {

void replace_all(std::string& text, std::string_view from, std::string_view to);

// Replaces leftmost non-overlapping matches with the Knuth-Morris-Pratt automaton. The result equals replace_all on the
// joined parts.
class TextReplacer {
 public:
  // An empty `from` replaces nothing.
  TextReplacer(std::string_view from, std::string_view to);

  // Appends text that is final to `out`, and holds back the beginning of a possible match. Returns the number of
  // matches.
  size_t take(std::string_view part, std::string& out);
  void finish(std::string& out);

 private:
  struct Rule {
    std::string from, to;
    std::vector<size_t> failure;  // for each match length, the longest proper prefix that is also a suffix
  };
  std::shared_ptr<const Rule> rule_;
  size_t matched_ = 0;
};

// Removes spaces before punctuation. Applies the rules of `cleanup` in Hugging Face's tokenizers, in their order.
void clean_up(std::string& text);
std::vector<TextReplacer> clean_up_replacers();

}  // namespace heddle
