// Replaces a text by another while the text they stand in arrives in parts.
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace heddle {

void replace_all(std::string& text, std::string_view from, std::string_view to);

// Replaces leftmost matches that do not overlap, as replace_all does of the parts together: the automaton of Knuth, Morris and Pratt.
class TextReplacer {
 public:
  // An empty `from` replaces nothing.
  TextReplacer(std::string_view from, std::string_view to);

  // Appends what is certain to `out`; the beginning of a possible match is held back. Returns how many matches there were.
  size_t take(std::string_view part, std::string& out);
  void finish(std::string& out);

 private:
  struct Rule {
    std::string from, to;
    std::vector<size_t> failure;  // of each length of a match: the longest shorter one that ends alike
  };
  std::shared_ptr<const Rule> rule_;
  size_t matched_ = 0;
};

// Spaces that writing has not: transformers' clean_up_tokenization, rule by rule in its order.
void clean_up(std::string& text);
std::vector<TextReplacer> clean_up_replacers();

}  // namespace heddle
