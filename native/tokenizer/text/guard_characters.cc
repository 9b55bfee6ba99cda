#include "tokenizer/text/guard_characters.h"

#include <utility>

#include "core/error.h"
#include "tokenizer/text/characters.h"
#include "tokenizer/text/unicode_forms.h"

namespace heddle {
namespace {

// Maximum number of characters visited per query. A normalizer of many steps could visit any number.
constexpr size_t max_visits = 20'000;

NormalizedText untracked(std::string_view text) {
  NormalizedText out;
  out.assign(text, 0, false);
  return out;
}

std::string to_utf8(uint32_t code) {
  std::string text;
  utf::append_code(code, text);
  return text;
}

// Returns the first character of the canonical decomposition. Composing a character with the marks after it does not
// change the result: the base of U+00E9 is "e", like that of "e" itself.
uint32_t base_of(uint32_t code) {
  uint32_t parts[unicode::decomposition_limit];
  return unicode::decompose(code, false, parts) > 0 ? parts[0] : code;
}

}  // namespace

GuardCharacters::GuardCharacters(Normalizer steps, const std::vector<std::string>& contents)
    : steps_(std::move(steps)) {
  const auto add_first = [this](const std::string& text) {
    if (text.empty()) return;
    int size = 0;
    const uint32_t first = utf::decode(text.data(), size);
    first_.insert(first), bases_.insert(base_of(first));
  };
  RegexBudget budget(0);
  for (const std::string& content : contents) {
    NormalizedText text = untracked(content);
    budget.grow(content.size());
    text.regex_budget = &budget;
    for (const auto& step : steps_) step->run(text);
    add_first(content);
    add_first(text.text);
  }
}

uint8_t GuardCharacters::of(uint32_t code, RegexBudget& budget) const {
  if (first_.empty()) return 0;
  const auto become = [&](bool composed) {
    VisitBudget visits{max_visits, budget};
    return may_become(composed, code, 0, visits);
  };
  try {
    const uint8_t kind = become(false) ? begins : become(true) ? composes : uint8_t{0};
    return static_cast<uint8_t>(kind | (may_change(code, budget) ? changes : 0));
  } catch (const Error&) {  // a step exceeds its limits; encoding reports that
    return begins | changes;
  }
}

bool GuardCharacters::may_become(bool composed, uint32_t code, size_t step, VisitBudget& visits) const {
  if (visits.left == 0) return true;
  --visits.left;
  if (composed ? bases_.count(base_of(code)) > 0 : first_.count(code) > 0) return true;
  if (step == steps_.size()) return false;
  const auto any = [&](std::string_view text) {
    bool found = false;
    for_each_character(
        text, [&](uint32_t made, size_t, size_t) { found = found || may_become(composed, made, step + 1, visits); });
    return found;
  };
  if (steps_[step]->may_write(code, any)) return true;
  NormalizedText text = untracked(to_utf8(code));
  text.regex_budget = &visits.regex;
  steps_[step]->run(text);
  return any(text.text);
}

bool GuardCharacters::may_change(uint32_t code, RegexBudget& budget) const {
  const std::string own = to_utf8(code);
  for (const auto& step : steps_) {
    NormalizedText text = untracked(own);
    text.regex_budget = &budget;
    step->run(text);
    if (text.text != own || step->may_write(code, [](std::string_view) { return true; })) return true;
  }
  return false;
}

}  // namespace heddle
