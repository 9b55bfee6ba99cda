#include "tokenizer/decoder_steps.h"

#include <utility>

#include "runtime/error.h"
#include "tokenizer/byte_alphabet.h"
#include "tokenizer/characters.h"
#include "tokenizer/regex.h"

namespace heddle {
namespace {

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

// Spaces that writing has not: transformers' clean_up_tokenization, in its order.
void clean_up(std::string& text) {
  static constexpr std::pair<std::string_view, std::string_view> rules[] = {
      {" .", "."},     {" ?", "?"},   {" !", "!"},           {" ,", ","},   {" ' ", "'"},  {" n't", "n't"},
      {" 'm", "'m"}, {" do not", " don't"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
  for (const auto& [from, to] : rules) replace_all(text, from, to);
}

std::string join(const std::vector<std::string>& tokens) {
  std::string all;
  for (const std::string& token : tokens) all += token;
  return all;
}

class ByteLevel : public DecoderStep {
 public:
  void run(std::vector<std::string>& tokens, size_t, RegexBudget&) const override {
    std::string bytes;
    for (const std::string& token : tokens) {
      const size_t before = bytes.size();
      bool known = true;
      for_each_character(token, [&](uint32_t code, size_t, size_t) {
        const int byte = alphabet_.byte(code);
        known = known && byte >= 0;
        if (known) bytes += static_cast<char>(byte);
      });
      if (known) continue;
      bytes.resize(before);
      bytes += token;
    }
    std::string text;
    utf::append_lossy(bytes, text);
    tokens.assign(1, text);
  }

 private:
  ByteAlphabet alphabet_;
};

class Replace : public DecoderStep {
 public:
  explicit Replace(const StepSpec& spec)
      : regex_(spec.pattern, !spec.is_regex, "decoder.pattern"), content_(spec.content) {}
  void run(std::vector<std::string>& tokens, size_t limit, RegexBudget& budget) const override {
    std::vector<Regex::Match> matches;
    size_t all = 0;
    for (std::string& token : tokens) {
      all += token.size();
      if (token.empty()) continue;
      regex_.find_all(token, matches, budget);
      if (matches.empty()) continue;
      all += matches.size() * content_.size();  // of what is taken out instead, nothing counts
      if (all > limit)
        throw invalid_file("decoder: expected a text to become at most " + std::to_string(limit) + " bytes long, got more");
      std::string out;
      size_t at = 0;
      for (const auto& [begin, end] : matches) {
        out.append(token, at, begin - at);
        out += content_;
        at = end;
      }
      out.append(token, at, std::string::npos);
      token = std::move(out);
    }
  }

 private:
  Regex regex_;
  std::string content_;
};

// Runs of <0xAB> tokens become their text where they are well-formed as a whole, else one U+FFFD each.
class ByteFallback : public DecoderStep {
 public:
  void run(std::vector<std::string>& tokens, size_t, RegexBudget&) const override {
    std::vector<std::string> out;
    std::string bytes;
    const auto flush = [&] {
      if (bytes.empty()) return;
      if (utf::is_well_formed(bytes)) out.push_back(bytes);
      else out.insert(out.end(), bytes.size(), "\xEF\xBF\xBD");
      bytes.clear();
    };
    for (std::string& token : tokens) {
      const int byte = byte_of_token(token);
      if (byte >= 0) {
        bytes += static_cast<char>(byte);
        continue;
      }
      flush();
      out.push_back(std::move(token));
    }
    flush();
    tokens = std::move(out);
  }
};

class Fuse : public DecoderStep {
 public:
  void run(std::vector<std::string>& tokens, size_t, RegexBudget&) const override { tokens.assign(1, join(tokens)); }
};

class Strip : public DecoderStep {
 public:
  explicit Strip(const StepSpec& spec) : content_(spec.content), start_(spec.number), stop_(spec.max_digits) {}
  void run(std::vector<std::string>& tokens, size_t, RegexBudget&) const override {
    const size_t size = content_.size();
    for (std::string& token : tokens) {
      size_t begin = 0, end = token.size();
      for (uint32_t i = 0; i < start_ && token.compare(begin, size, content_) == 0; ++i) begin += size;
      for (uint32_t i = 0; i < stop_ && end >= begin + size && token.compare(end - size, size, content_) == 0; ++i) {
        end -= size;
      }
      token = token.substr(begin, end - begin);
    }
  }

 private:
  std::string content_;
  uint32_t start_, stop_;
};

class Metaspace : public DecoderStep {
 public:
  explicit Metaspace(const StepSpec& spec) : mark_(spec.content), prepends_(spec.prefix) {}
  void run(std::vector<std::string>& tokens, size_t, RegexBudget&) const override {
    for (size_t i = 0; i < tokens.size(); ++i) replace_all(tokens[i], mark_, i == 0 && prepends_ ? "" : " ");
  }

 private:
  std::string mark_;
  bool prepends_;
};

class WordPiece : public DecoderStep {
 public:
  explicit WordPiece(const StepSpec& spec) : prefix_(spec.content), cleans_(spec.clean) {}
  void run(std::vector<std::string>& tokens, size_t, RegexBudget&) const override {
    for (size_t i = 0; i < tokens.size(); ++i) {
      std::string& token = tokens[i];
      if (i > 0) {
        if (token.compare(0, prefix_.size(), prefix_) == 0) token.erase(0, prefix_.size());
        else token.insert(0, 1, ' ');
      }
      if (cleans_) clean_up(token);
    }
  }

 private:
  std::string prefix_;
  bool cleans_;
};

class BpeDecoder : public DecoderStep {
 public:
  explicit BpeDecoder(std::string suffix) : suffix_(std::move(suffix)) {}
  void run(std::vector<std::string>& tokens, size_t, RegexBudget&) const override {
    for (size_t i = 0; i < tokens.size(); ++i) replace_all(tokens[i], suffix_, i + 1 == tokens.size() ? "" : " ");
  }

 private:
  std::string suffix_;
};

// Connectionist temporal classification: repeated tokens are one, padding separates.
class Ctc : public DecoderStep {
 public:
  explicit Ctc(const StepSpec& spec) : pad_(spec.pattern), delimiter_(spec.content), cleans_(spec.clean) {}
  void run(std::vector<std::string>& tokens, size_t, RegexBudget&) const override {
    std::vector<std::string> out;
    for (size_t i = 0; i < tokens.size(); ++i) {
      if (i > 0 && tokens[i] == tokens[i - 1]) continue;
      std::string token = tokens[i];
      replace_all(token, pad_, "");
      if (cleans_) {
        clean_up(token);
        replace_all(token, delimiter_, " ");
      }
      if (!token.empty()) out.push_back(std::move(token));
    }
    tokens = std::move(out);
  }

 private:
  std::string pad_, delimiter_;
  bool cleans_;
};

std::shared_ptr<const DecoderStep> make_step(const StepSpec& spec) {
  const std::string& type = spec.type;
  if (type == "ByteLevel") return std::make_shared<ByteLevel>();
  if (type == "Replace") return std::make_shared<Replace>(spec);
  if (type == "ByteFallback") return std::make_shared<ByteFallback>();
  if (type == "Fuse") return std::make_shared<Fuse>();
  if (type == "Strip") return std::make_shared<Strip>(spec);
  if (type == "Metaspace") return std::make_shared<Metaspace>(spec);
  if (type == "WordPiece") return std::make_shared<WordPiece>(spec);
  if (type == "BPEDecoder") return std::make_shared<BpeDecoder>(spec.content);
  if (type == "CTC") return std::make_shared<Ctc>(spec);
  throw Error("UNSUPPORTED", "decoder: \"" + type.substr(0, 80) + "\" is not supported");
}

}  // namespace

int byte_of_token(std::string_view text) {
  if (text.size() != 6 || text.substr(0, 3) != "<0x" || text[5] != '>') return -1;
  const auto digit = [](char c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
  };
  const int high = text[3] == '+' ? 0 : digit(text[3]);  // Rust reads a sign
  const int low = digit(text[4]);
  return high < 0 || low < 0 ? -1 : 16 * high + low;
}

DecoderSteps make_decoder_steps(const std::vector<StepSpec>& steps) {
  DecoderSteps made;
  for (const StepSpec& step : steps) made.push_back(make_step(step));
  return made;
}

}  // namespace heddle
