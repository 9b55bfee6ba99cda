#include "tokenizer/decode/text_replacer.h"

namespace heddle {
namespace {

constexpr std::pair<std::string_view, std::string_view> clean_up_rules[] = {{" .", "."}, {" ?", "?"}, {" !", "!"},
    {" ,", ","}, {" ' ", "'"}, {" n't", "n't"}, {" 'm", "'m"}, {" do not", " don't"}, {" 's", "'s"}, {" 've", "'ve"},
    {" 're", "'re"}};

}  // namespace

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  if (from.empty()) return;
  size_t at = text.find(from);
  if (at == std::string::npos) return;
  std::string out;
  size_t done = 0;
  for (; at != std::string::npos; at = text.find(from, done)) {
    out.append(text, done, at - done);
    out += to;
    done = at + from.size();
  }
  out.append(text, done, std::string::npos);
  text = std::move(out);
}

void clean_up(std::string& text) {
  for (const auto& [from, to] : clean_up_rules) replace_all(text, from, to);
}

std::vector<TextReplacer> clean_up_replacers() {
  std::vector<TextReplacer> all;
  for (const auto& [from, to] : clean_up_rules) all.emplace_back(from, to);
  return all;
}

TextReplacer::TextReplacer(std::string_view from, std::string_view to) {
  auto rule = std::make_shared<Rule>();
  rule->from = from;
  rule->to = to;
  rule->failure.assign(from.size() + 1, 0);
  for (size_t length = 1, same = 0; length < from.size(); ++length) {
    while (same > 0 && from[same] != from[length]) same = rule->failure[same];
    if (from[same] == from[length]) ++same;
    rule->failure[length + 1] = same;
  }
  rule_ = std::move(rule);
}

size_t TextReplacer::take(std::string_view part, std::string& out) {
  const auto& [from, to, failure] = *rule_;
  if (from.empty()) {
    out += part;
    return 0;
  }
  size_t matches = 0;
  for (const char c : part) {
    while (matched_ > 0 && from[matched_] != c) {
      const size_t shorter = failure[matched_];
      out.append(from, 0, matched_ - shorter);
      matched_ = shorter;
    }
    if (from[matched_] != c) {
      out += c;
    } else if (++matched_ == from.size()) {
      out += to;
      matched_ = 0;
      ++matches;
    }
  }
  return matches;
}

void TextReplacer::finish(std::string& out) {
  out.append(rule_->from, 0, matched_);
  matched_ = 0;
}

}  // namespace heddle
