#include "tokenizer/decode/decoder_steps.h"

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "tokenizer/text/byte_alphabet.h"
#include "tokenizer/decode/decoder_text_stages.h"
#include "tokenizer/regex/regex.h"
#include "tokenizer/decode/text_replacer.h"
#include "tokenizer/text/utf.h"

namespace heddle {
namespace {

using Shared = std::shared_ptr<const std::string>;
Shared share(const std::string& text) { return std::make_shared<const std::string>(text); }

bool starts_with(const std::string& text, const std::string& prefix) {
  return text.compare(0, prefix.size(), prefix) == 0;
}

class ByteLevel : public ClonedStage<ByteLevel> {
 public:
  void take(std::string token) override {
    if (!alphabet_->to_bytes(token, pending_)) pending_ += token;
    hand_on(utf::incomplete_tail(pending_));
  }
  void finish() override { hand_on(0); }

 private:
  void hand_on(size_t kept) {
    std::string text;
    utf::append_lossy(std::string_view(pending_).substr(0, pending_.size() - kept), text);
    pending_.erase(0, pending_.size() - kept);
    if (!text.empty()) next->take(std::move(text));
  }

  std::shared_ptr<const ByteAlphabet> alphabet_ = std::make_shared<const ByteAlphabet>();
  std::string pending_;  // an incomplete character
};

class Replace : public ClonedStage<Replace> {
 public:
  Replace(std::shared_ptr<const Regex> regex, const std::string& content)
      : regex_(std::move(regex)), content_(share(content)) {}
  void take(std::string token) override {
    size_t matches = 0;
    std::string out = replace_matches(*regex_, token, *content_, matches, *budget);
    limit_.add(token.size(), matches * content_->size(), budget->bytes());
    next->take(std::move(out));
  }

 private:
  std::shared_ptr<const Regex> regex_;
  Shared content_;
  GrowthLimit limit_;
};

// Decodes runs of <0xAB> tokens: to text if the run is well-formed as a whole, otherwise to one U+FFFD per token.
class ByteFallback : public ClonedStage<ByteFallback> {
 public:
  void take(std::string token) override {
    const int byte = byte_of_token(token);
    if (byte >= 0) {
      run_ += static_cast<char>(byte);
      return;
    }
    finish();
    next->take(std::move(token));
  }
  void finish() override {
    if (run_.empty()) return;
    const std::string run = std::exchange(run_, {});
    if (utf::is_well_formed(run)) return next->take(run);
    for (size_t i = 0; i < run.size(); ++i) next->take("\xEF\xBF\xBD");
  }

 private:
  std::string run_;
};

// Joins all tokens. The steps after Fuse are text stages, which treat their input as one token.
class Fuse : public ClonedStage<Fuse> {
 public:
  void take(std::string token) override {
    if (!token.empty()) next->take(std::move(token));
  }
};

class Strip : public ClonedStage<Strip> {
 public:
  explicit Strip(const StepSpec& spec) : content_(spec.content), start_(spec.number), stop_(spec.max_digits) {}
  void take(std::string token) override {
    const size_t size = content_.size();
    size_t begin = 0, end = token.size();
    for (uint32_t i = 0; i < start_ && token.compare(begin, size, content_) == 0; ++i) begin += size;
    for (uint32_t i = 0; i < stop_ && end >= begin + size && token.compare(end - size, size, content_) == 0; ++i)
      end -= size;
    next->take(token.substr(begin, end - begin));
  }

 private:
  std::string content_;
  uint32_t start_, stop_;
};

class Metaspace : public ClonedStage<Metaspace> {
 public:
  explicit Metaspace(const StepSpec& spec) : mark_(spec.content), prepends_(spec.prefix) {}
  void take(std::string token) override {
    const bool strips = std::exchange(is_first_, false) && prepends_;
    replace_all(token, mark_, strips ? "" : " ");
    next->take(std::move(token));
  }

 private:
  std::string mark_;
  bool prepends_;
  bool is_first_ = true;
};

class WordPiece : public ClonedStage<WordPiece> {
 public:
  explicit WordPiece(const StepSpec& spec) : prefix_(share(spec.content)), cleans_(spec.clean) {}
  void take(std::string token) override {
    if (!std::exchange(is_first_, false)) {
      if (starts_with(token, *prefix_)) token.erase(0, prefix_->size());
      else token.insert(0, 1, ' ');
    }
    if (cleans_) clean_up(token);
    next->take(std::move(token));
  }

 private:
  Shared prefix_;
  bool cleans_;
  bool is_first_ = true;
};

// Ends words at the suffix, which becomes a space if another token follows and is dropped after the last token.
class BpeDecoder : public ClonedStage<BpeDecoder> {
 public:
  explicit BpeDecoder(const std::string& suffix) : suffix_(share(suffix)) {}
  void take(std::string token) override {
    hand_on(" ");
    held_ = std::move(token);
    const size_t certain = std::min(held_.size(), suffix_->empty() ? std::string::npos : held_.find(*suffix_));
    if (certain == 0) return;
    next->take(held_.substr(0, certain));
    held_.erase(0, certain);
  }
  void finish() override { hand_on(""); }

 private:
  void hand_on(std::string_view instead) {
    if (held_.empty()) return;
    std::string text = std::exchange(held_, {});
    replace_all(text, *suffix_, instead);
    next->take(std::move(text));
  }

  Shared suffix_;
  std::string held_;  // the newest token, from its first suffix on
};

// Connectionist temporal classification: repeated tokens are merged, unless padding separates them.
class Ctc : public ClonedStage<Ctc> {
 public:
  explicit Ctc(const StepSpec& spec)
      : pad_(share(spec.pattern)), delimiter_(share(spec.content)), cleans_(spec.clean) {}
  void take(std::string token) override {
    const bool repeats = !std::exchange(is_first_, false) && token == previous_;
    previous_ = token;
    if (repeats) return;
    replace_all(token, *pad_, "");
    if (cleans_) {
      clean_up(token);
      replace_all(token, *delimiter_, " ");
    }
    if (!token.empty()) next->take(std::move(token));
  }

 private:
  Shared pad_, delimiter_;
  bool cleans_;
  bool is_first_ = true;
  std::string previous_;
};

std::unique_ptr<DecoderStage> make_token_stage(const StepSpec& spec) {
  const std::string& type = spec.type;
  if (type == "ByteLevel") return std::make_unique<ByteLevel>();
  if (type == "Replace") {
    auto regex = std::make_shared<const Regex>(spec.pattern, !spec.is_regex, "decoder.pattern");
    return std::make_unique<Replace>(std::move(regex), spec.content);
  }
  if (type == "ByteFallback") return std::make_unique<ByteFallback>();
  if (type == "Fuse") return std::make_unique<Fuse>();
  if (type == "Strip") return std::make_unique<Strip>(spec);
  if (type == "Metaspace") return std::make_unique<Metaspace>(spec);
  if (type == "WordPiece") return std::make_unique<WordPiece>(spec);
  if (type == "BPEDecoder") return std::make_unique<BpeDecoder>(spec.content);
  if (type == "CTC") return std::make_unique<Ctc>(spec);
  throw Error("UNSUPPORTED", "decoder: \"" + type.substr(0, 80) + "\" is not supported");
}

}  // namespace

void GrowthLimit::add(size_t read, size_t added, size_t bytes_given) {
  written_ += read + added;
  if (added == 0) return;
  const size_t most = 32 * bytes_given + (1 << 14);
  if (written_ > most)
    throw invalid_file("decoder: the decoded text exceeds the limit of " + std::to_string(most) + " bytes");
}

DecoderPipeline::DecoderPipeline(const std::vector<StepSpec>& steps) {
  bool joined = false;
  for (const StepSpec& step : steps) {
    auto& stages = chain_->stages;
    auto stage = make_token_stage(step);  // validates the step, even if it is not used
    if (joined) {
      for (auto& one : make_text_stages(step)) {
        stages.push_back(std::move(one));
        chain_->has_text_stages = true;
      }
    } else {
      stages.push_back(std::move(stage));
    }
    joined = joined || step.type == "ByteLevel" || step.type == "Fuse";
  }
  chain_->link();
}

DecoderPipeline::DecoderPipeline(const DecoderPipeline& other) {
  for (const auto& stage : other.chain_->stages) chain_->stages.push_back(stage->clone());
  chain_->budget = other.chain_->budget;
  chain_->has_token = other.chain_->has_token;
  chain_->has_text_stages = other.chain_->has_text_stages;
  chain_->link();
}

void DecoderPipeline::Chain::link() {
  DecoderStage* next = &output;
  for (auto stage = stages.rbegin(); stage != stages.rend(); ++stage) {
    (*stage)->next = next;
    (*stage)->budget = &budget;
    next = stage->get();
  }
}

void DecoderPipeline::push(std::string_view token, std::string& out) {
  Chain& chain = *chain_;
  const bool follows = std::exchange(chain.has_token, true);
  if (chain.stages.empty()) {
    if (follows) out += ' ';
    out += token;
    return;
  }
  chain.budget.grow(token.size());
  chain.output.out = &out;
  chain.stages.front()->take(std::string(token));
}

void DecoderPipeline::finish(std::string& out) {
  chain_->output.out = &out;
  for (const auto& stage : chain_->stages) stage->finish();
}

// If a token's text is emitted at once, it has passed every stage, and no stage holds bytes of earlier tokens. Each
// stage then remembers the newest token only. Text that begins with U+FFFD is excluded, because its bytes may complete
// a character of earlier tokens.
bool DecoderPipeline::resets(std::string_view token, RegexBudget& budget) const {
  if (chain_->has_text_stages) return false;
  std::string out;
  DecoderPipeline copy(*this);
  copy.chain_->budget = budget;
  copy.push(token, out);
  budget = copy.chain_->budget;
  return !out.empty() && out.compare(0, 3, "\xEF\xBF\xBD") != 0;
}

int byte_of_token(std::string_view text) {
  if (text.size() != 6 || text.substr(0, 3) != "<0x" || text[5] != '>') return -1;
  const auto digit = [](char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                  : -1;
  };
  const int high = text[3] == '+' ? 0 : digit(text[3]);  // Rust's integer parser accepts a sign
  const int low = digit(text[4]);
  return high < 0 || low < 0 ? -1 : 16 * high + low;
}

}  // namespace heddle
