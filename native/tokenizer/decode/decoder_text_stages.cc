#include "tokenizer/decode/decoder_text_stages.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "tokenizer/text/byte_alphabet.h"
#include "tokenizer/decode/decoder_steps.h"
#include "tokenizer/decode/text_replacer.h"
#include "tokenizer/text/utf.h"

namespace heddle {
namespace {

class ReplaceText : public ClonedStage<ReplaceText> {
 public:
  explicit ReplaceText(TextReplacer replacer, size_t added = 0) : replacer_(std::move(replacer)), added_(added) {}
  void take(std::string part) override {
    std::string text;
    const size_t matches = replacer_.take(part, text);
    limit_.add(part.size(), matches * added_, budget->bytes());
    if (!text.empty()) next->take(std::move(text));
  }
  void finish() override {
    std::string text;
    replacer_.finish(text);
    if (!text.empty()) next->take(std::move(text));
  }

 private:
  TextReplacer replacer_;
  size_t added_;  // bytes that a replacement inserts; 0 if it does not lengthen the text
  GrowthLimit limit_;
};

class StripText : public ClonedStage<StripText> {
 public:
  explicit StripText(const StepSpec& spec) : content_(spec.content), start_(spec.number), stop_(spec.max_digits) {}
  void take(std::string part) override {
    const size_t size = content_.size();
    size_t begin = 0;
    for (; start_ > 0 && part.compare(begin, size, content_) == 0; --start_) begin += size;
    if (begin == part.size()) return;
    start_ = 0;
    size_t end = part.size();
    size_t ending = 0;  // number of times that the part ends with content_
    while (end >= begin + size && part.compare(end - size, size, content_) == 0) end -= size, ++ending;
    std::string text;
    if (end > begin) {
      for (; held_ > 0; --held_) text += content_;
      text.append(part, begin, end - begin);
    }
    held_ += ending;
    for (; held_ > stop_; --held_) text += content_;
    if (!text.empty()) next->take(std::move(text));
  }
  void finish() override { held_ = 0; }

 private:
  std::string content_;
  size_t start_;  // how many more copies of content_ may be removed at the start
  size_t stop_;
  size_t held_ = 0;  // number of times that the text so far ends with content_; at most stop_
};

// Replaces a text that is the name of a byte, such as <0x41>, by that byte. A byte from 0x80 on becomes U+FFFD.
class ByteOfText : public ClonedStage<ByteOfText> {
 public:
  void take(std::string part) override {
    if (!is_open_) return next->take(std::move(part));
    held_ += part;
    constexpr size_t name_length = 6;
    if (held_.size() <= name_length) return;
    is_open_ = false;
    next->take(std::exchange(held_, {}));
  }
  void finish() override {
    is_open_ = false;
    if (held_.empty()) return;
    std::string text = std::exchange(held_, {});
    const int byte = byte_of_token(text);
    if (byte >= 0) text = byte < 0x80 ? std::string(1, static_cast<char>(byte)) : "\xEF\xBF\xBD";
    next->take(std::move(text));
  }

 private:
  bool is_open_ = true;
  std::string held_;
};

// A stage for steps whose result may change until the text ends. Holds back the whole text.
class WholeText : public ClonedStage<WholeText> {
 public:
  using Change = std::function<std::string(const std::string& text, RegexBudget& budget)>;
  explicit WholeText(Change change) : change_(std::move(change)) {}
  void take(std::string part) override { held_ += part; }
  void finish() override {
    if (!held_.empty()) next->take(change_(std::exchange(held_, {}), *budget));
  }

 private:
  Change change_;
  std::string held_;
};

std::string from_byte_alphabet(const std::string& text, RegexBudget&) {
  std::string bytes, out;
  if (!ByteAlphabet().to_bytes(text, bytes)) return text;
  utf::append_lossy(bytes, out);
  return out;
}

WholeText::Change replacing(const StepSpec& spec) {
  const auto regex = std::make_shared<const Regex>(spec.pattern, !spec.is_regex, "decoder.pattern");
  const auto content = std::make_shared<const std::string>(spec.content);
  return [regex, content](const std::string& text, RegexBudget& budget) {
    size_t matches = 0;
    std::string out = replace_matches(*regex, text, *content, matches, budget);
    GrowthLimit().add(text.size(), matches * content->size(), budget.bytes());
    return out;
  };
}

}  // namespace

std::vector<std::unique_ptr<DecoderStage>> make_text_stages(const StepSpec& spec) {
  std::vector<std::unique_ptr<DecoderStage>> stages;
  const auto replace = [&](std::string_view from, std::string_view to) {
    const size_t added = to.size() > from.size() ? to.size() : 0;
    stages.push_back(std::make_unique<ReplaceText>(TextReplacer(from, to), added));
  };
  const auto clean = [&] {
    for (TextReplacer& rule : clean_up_replacers()) stages.push_back(std::make_unique<ReplaceText>(std::move(rule)));
  };
  const std::string& type = spec.type;
  if (type == "ByteLevel") stages.push_back(std::make_unique<WholeText>(from_byte_alphabet));
  if (type == "ByteFallback") stages.push_back(std::make_unique<ByteOfText>());
  if (type == "Strip") stages.push_back(std::make_unique<StripText>(spec));
  if (type == "Metaspace") replace(spec.content, spec.prefix ? "" : " ");
  if (type == "BPEDecoder") replace(spec.content, "");
  if (type == "WordPiece" && spec.clean) clean();
  if (type == "Replace") {
    if (spec.is_regex || spec.pattern.empty()) stages.push_back(std::make_unique<WholeText>(replacing(spec)));
    else replace(spec.pattern, spec.content);
  }
  if (type == "CTC") {
    replace(spec.pattern, "");
    if (spec.clean) clean(), replace(spec.content, " ");
  }
  return stages;
}

std::string replace_matches(
    const Regex& regex, const std::string& text, const std::string& content, size_t& matches, RegexBudget& budget) {
  if (text.empty()) return text;
  std::vector<Regex::Match> found;
  regex.find_all(text, found, budget);
  matches = found.size();
  std::string out;
  size_t at = 0;
  for (const auto& [begin, end] : found) {
    out.append(text, at, begin - at);
    out += content;
    at = end;
  }
  out.append(text, at, std::string::npos);
  return out;
}

}  // namespace heddle
