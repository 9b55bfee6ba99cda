#include "tokenizer/text/normalizer.h"

#include "core/error.h"
#include "tokenizer/text/byte_alphabet.h"
#include "tokenizer/text/characters.h"
#include "tokenizer/text/charsmap.h"
#include "tokenizer/regex/regex.h"
#include "tokenizer/text/unicode.h"
#include "tokenizer/text/unicode_forms.h"
#include "tokenizer/text/unicode_normalizer.h"

namespace heddle {
namespace {

// Removes all characters for which stays(code) is false.
template <class F> void filter(NormalizedText& text, F&& stays) {
  std::vector<Change> changes;
  for_each_character(text.text, [&](uint32_t code, size_t begin, size_t size) {
    if (stays(code)) put(changes, code, begin, size);
    else drop(changes, begin + size);
  });
  text.transform(changes);
}

template <class F> void map(NormalizedText& text, F&& to) {
  std::vector<Change> changes;
  for_each_character(text.text, [&](uint32_t code, size_t begin, size_t size) { put(changes, to(code), begin, size); });
  text.transform(changes);
}

void lowercase(NormalizedText& text) {
  if (is_ascii(text.text)) {
    for (char& c : text.text) {
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
    }
    return;
  }
  std::vector<Change> changes;
  for_each_character(text.text, [&](uint32_t code, size_t begin, size_t size) {
    uint32_t lower[2];
    const int count = unicode::lowercase(code, lower);
    for (int i = 0; i < count; ++i) put(changes, lower[i], begin, size);
  });
  text.transform(changes);
}

bool is_space(uint32_t code) { return unicode::flags_of(unicode::flag_table(), code) & unicode::space; }

class Form : public NormalizerStep {
 public:
  Form(bool composes, bool compatible) : composes_(composes), compatible_(compatible) {}
  void run(NormalizedText& text) const override {
    if (composes_) compose_text(text, compatible_);
    else decompose_text(text, compatible_);
  }
  bool keeps_ascii() const override { return true; }

 private:
  bool composes_, compatible_;
};

class Lowercase : public NormalizerStep {
 public:
  void run(NormalizedText& text) const override { lowercase(text); }
};

class StripAccents : public NormalizerStep {
 public:
  bool keeps_ascii() const override { return true; }
  void run(NormalizedText& text) const override {
    if (is_ascii(text.text)) return;
    filter(text, [](uint32_t code) { return (unicode::properties()[code] & unicode::combining) == 0; });
  }
};

class Strip : public NormalizerStep {
 public:
  Strip(bool left, bool right) : left_(left), right_(right) {}
  void run(NormalizedText& text) const override {
    size_t begin = 0, end = text.text.size();
    int size = 0;
    while (left_ && begin < end && is_space(utf::decode(text.text.data() + begin, size))) {
      begin += static_cast<size_t>(size);
    }
    while (right_ && end > begin) {
      const char* last = utf::previous(text.text.data() + end);
      if (!is_space(utf::decode(last, size))) break;
      end = static_cast<size_t>(last - text.text.data());
    }
    if (begin == 0 && end == text.text.size()) return;
    TextBuilder out(text);
    out.keep(begin, end);
    text = out.take();
  }

 private:
  bool left_, right_;
};

class Replace : public NormalizerStep {
 public:
  explicit Replace(const StepSpec& spec)
      : regex_(spec.pattern, !spec.is_regex, "normalizer.pattern"), content_(spec.content) {}
  void run(NormalizedText& text) const override {
    std::vector<Regex::Match> matches;
    regex_.find_all(text.text, matches, *text.regex_budget, text.cancellation);
    if (matches.empty() || text.text.empty()) return;
    if (!content_.empty() && matches.size() > text.limit / content_.size()) text.check_growth(SIZE_MAX);
    TextBuilder out(text);
    size_t at = 0;
    for (const auto& [begin, end] : matches) {
      out.keep(at, begin);
      out.put(content_, begin, end);
      at = end;
    }
    out.keep(at, text.text.size());
    text = out.take();
  }
  bool may_write(uint32_t first, const TextTest& holds) const override {
    return regex_.may_begin_with(first) && holds(content_);
  }

 private:
  Regex regex_;
  std::string content_;
};

class Prepend : public NormalizerStep {
 public:
  explicit Prepend(std::string content) : content_(std::move(content)) {}
  void run(NormalizedText& text) const override {
    if (!text.continues) text.prepend(content_);
  }

 private:
  std::string content_;
};

// SentencePiece's rules for neural machine translation: removes control characters, and replaces separators by spaces.
class Nmt : public NormalizerStep {
 public:
  void run(NormalizedText& text) const override {
    filter(text, [](uint32_t c) {
      return !((c >= 1 && c <= 8) || c == 0xB || (c >= 0xE && c <= 0x1F) || c == 0x7F || c == 0x8F || c == 0x9F);
    });
    map(text, [](uint32_t c) {
      const bool space = c == 9 || c == 0xA || c == 0xC || c == 0xD || c == 0x1680 || (c >= 0x200B && c <= 0x200F) ||
                         c == 0x2028 || c == 0x2029 || c == 0x2581 || c == 0xFEFF || c == 0xFFFD;
      return space ? uint32_t{' '} : c;
    });
  }
};

class Precompiled : public NormalizerStep {
 public:
  explicit Precompiled(const StepSpec& spec) : map_(spec.bytes), longest_(spec.longest) {}
  void run(NormalizedText& text) const override {
    if (longest_) map_.run_longest(text);
    else map_.run(text);
  }
  bool may_write(uint32_t first, const TextTest& holds) const override { return map_.may_write(first, holds); }

 private:
  Charsmap map_;
  bool longest_;
};

// Maps each byte to its character in the byte alphabet.
class ByteLevel : public NormalizerStep {
 public:
  void run(NormalizedText& text) const override {
    std::vector<Change> changes;
    for_each_character(text.text, [&](uint32_t, size_t begin, size_t size) {
      for (size_t i = 0; i < size; ++i) {
        put(changes, alphabet_.character(static_cast<uint8_t>(text.text[begin + i])), begin, size);
      }
    });
    text.transform(changes);
  }

 private:
  ByteAlphabet alphabet_;
};

class Bert : public NormalizerStep {
 public:
  explicit Bert(const StepSpec& spec)
      : clean_(spec.clean), chinese_(spec.chinese), accents_(spec.accents), lower_(spec.lower) {}
  void run(NormalizedText& text) const override {
    if (!text.tracked && is_ascii(text.text)) return run_ascii(text.text);
    if (clean_) {
      filter(text, [](uint32_t c) { return c != 0 && (unicode::properties()[c] & unicode::removed_control) == 0; });
      map(text, [](uint32_t c) { return is_space(c) ? uint32_t{' '} : c; });
    }
    if (chinese_) separate_chinese(text);
    if (accents_) {
      decompose_text(text, false);
      filter(text, [](uint32_t c) { return (unicode::properties()[c] & unicode::nonspacing) == 0; });
    }
    if (lower_) lowercase(text);
  }

 private:
  void run_ascii(std::string& text) const {
    size_t to = 0;
    for (char c : text) {
      if (clean_) {
        if (c == '\t' || c == '\n' || c == '\r') c = ' ';
        else if (c < 0x20 || c == 0x7F) continue;
      }
      if (lower_ && c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
      text[to++] = c;
    }
    text.resize(to);
  }

  // The ranges that Hugging Face's library treats as Chinese. Like the library, begins CJK Extension E at U+2B920
  // instead of U+2B820.
  static bool is_chinese(uint32_t c) {
    return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) || (c >= 0x20000 && c <= 0x2A6DF) ||
           (c >= 0x2A700 && c <= 0x2B73F) || (c >= 0x2B740 && c <= 0x2B81F) || (c >= 0x2B920 && c <= 0x2CEAF) ||
           (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
  }

  static void separate_chinese(NormalizedText& text) {
    std::vector<Change> changes;
    for_each_character(text.text, [&](uint32_t code, size_t begin, size_t size) {
      const bool separate = is_chinese(code);
      if (separate) put(changes, ' ', begin, size);
      put(changes, code, begin, size);
      if (separate) put(changes, ' ', begin, size);
    });
    text.transform(changes);
  }

  bool clean_, chinese_, accents_, lower_;
};

std::shared_ptr<const NormalizerStep> make_step(const StepSpec& spec) {
  const std::string& type = spec.type;
  if (type == "NFC") return std::make_shared<Form>(true, false);
  if (type == "NFD") return std::make_shared<Form>(false, false);
  if (type == "NFKC") return std::make_shared<Form>(true, true);
  if (type == "NFKD") return std::make_shared<Form>(false, true);
  if (type == "Lowercase") return std::make_shared<Lowercase>();
  if (type == "StripAccents") return std::make_shared<StripAccents>();
  if (type == "Strip") return std::make_shared<Strip>(spec.left, spec.right);
  if (type == "Replace") return std::make_shared<Replace>(spec);
  if (type == "Prepend") return std::make_shared<Prepend>(spec.content);
  if (type == "Nmt") return std::make_shared<Nmt>();
  if (type == "Precompiled") return std::make_shared<Precompiled>(spec);
  if (type == "ByteLevel") return std::make_shared<ByteLevel>();
  if (type == "BertNormalizer") return std::make_shared<Bert>(spec);
  throw Error("UNSUPPORTED", "normalizer: \"" + type.substr(0, 80) + "\" is not supported");
}

}  // namespace

Normalizer make_normalizer(const std::vector<StepSpec>& steps) {
  Normalizer normalizer;
  for (const StepSpec& step : steps) normalizer.push_back(make_step(step));
  return normalizer;
}

}  // namespace heddle
