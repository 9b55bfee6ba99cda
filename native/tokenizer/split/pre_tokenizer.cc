#include "tokenizer/split/pre_tokenizer.h"

#include <algorithm>

#include "core/error.h"
#include "tokenizer/text/byte_alphabet.h"
#include "tokenizer/text/characters.h"
#include "tokenizer/regex/regex.h"
#include "tokenizer/split/split_run.h"
#include "tokenizer/text/unicode.h"

namespace heddle {
namespace {

// Hugging Face's SplitDelimiterBehavior: how matches are split off.
enum class Behavior : uint32_t { removed, isolated, merged_with_previous, merged_with_next, contiguous };

struct Part {
  size_t begin, end;
  bool match;
};

// Appends the parts to `out` as pieces, joined or removed as the behavior says. Parts are relative to `offset`.
void join(const std::vector<Part>& parts, Behavior behavior, size_t offset, std::vector<Pieces::Piece>& out) {
  const size_t first = out.size();
  bool previous = false;
  for (size_t i = 0; i < parts.size(); ++i) {
    const Part& part = parts[i];
    const bool begun = out.size() > first;
    bool joins = false;
    switch (behavior) {
      case Behavior::removed:
        if (part.match) continue;
        break;
      case Behavior::isolated: break;
      case Behavior::merged_with_previous: joins = begun && part.match && !previous; break;
      case Behavior::merged_with_next: joins = begun && previous && !part.match; break;
      case Behavior::contiguous: joins = begun && part.match == previous; break;
    }
    if (joins) out.back().end = offset + part.end;
    else out.push_back({offset + part.begin, offset + part.end});
    previous = part.match;
  }
  out.erase(std::remove_if(out.begin() + static_cast<std::ptrdiff_t>(first), out.end(),
                [](const Pieces::Piece& piece) { return piece.begin == piece.end; }),
      out.end());
}

// Splits every piece into the parts that `find(text, parts)` appends.
template <class F> void cut(Pieces& pieces, Behavior behavior, F&& find) {
  std::vector<Pieces::Piece> out;
  std::vector<Part> parts;
  for (const Pieces::Piece& piece : pieces.pieces) {
    parts.clear();
    find(std::string_view(pieces.text.text).substr(piece.begin, piece.end - piece.begin), parts);
    join(parts, behavior, piece.begin, out);
  }
  pieces.pieces = std::move(out);
}

// Splits at every character for which is_match(code) holds. Each is a separate match.
template <class F> void cut_at_characters(Pieces& pieces, Behavior behavior, F&& is_match) {
  cut(pieces, behavior, [&](std::string_view text, std::vector<Part>& parts) {
    size_t at = 0;
    for_each_character(text, [&](uint32_t code, size_t begin, size_t size) {
      if (!is_match(code)) return;
      if (at < begin) parts.push_back({at, begin, false});
      parts.push_back({begin, begin + size, true});
      at = begin + size;
    });
    if (at < text.size()) parts.push_back({at, text.size(), false});
  });
}

bool is_space(uint32_t code) { return unicode::flags_of(unicode::flag_table(), code) & unicode::space; }
bool is_punctuation(uint32_t code) { return unicode::properties()[code] & unicode::punctuation; }

// Rewrites every piece. edit(builder, begin, end) appends the new content of the piece.
template <class F> void rewrite(Pieces& pieces, F&& edit) {
  TextBuilder out(pieces.text);
  for (Pieces::Piece& piece : pieces.pieces) {
    const size_t begin = out.size();
    edit(out, piece.begin, piece.end);
    piece = {begin, out.size()};
  }
  pieces.text = out.take();
}

// Whether a piece begins a text that continues an earlier text.
bool continues_text(const Pieces& pieces, size_t begin) { return begin == 0 && pieces.text.continues; }

class Pattern : public PreTokenizerStep {
 public:
  explicit Pattern(const StepSpec& spec)
      : regex_(spec.pattern, !spec.is_regex, "pre_tokenizer.pattern"), behavior_(static_cast<Behavior>(spec.number)),
        invert_(spec.invert) {}
  void run(Pieces& pieces) const override {
    std::vector<Regex::Match> matches;
    cut(pieces, behavior_, [&](std::string_view text, std::vector<Part>& parts) {
      regex_.find_all(text, matches, *pieces.text.regex_budget, pieces.text.cancellation);
      size_t at = 0;
      for (const auto& [begin, end] : matches) {
        if (at < begin) parts.push_back({at, begin, invert_});
        parts.push_back({begin, end, !invert_});
        at = end;
      }
      if (at < text.size()) parts.push_back({at, text.size(), invert_});
    });
  }

 private:
  Regex regex_;
  Behavior behavior_;
  bool invert_;
};

// A pattern with a hand-written Splitter. Its pieces cover all of the text.
class NativePattern : public PreTokenizerStep {
 public:
  explicit NativePattern(const StepSpec& spec)
      : splitter_({SplitStage{
            static_cast<SplitKind>(spec.number), static_cast<uint8_t>(spec.max_digits), spec.contractions}}) {}
  void run(Pieces& pieces) const override {
    std::vector<Pieces::Piece> out;
    const char* text = pieces.text.text.data();
    for (const Pieces::Piece& piece : pieces.pieces) {
      splitter_.run(text + piece.begin, text + piece.end, [&](const char* begin, const char* end) {
        out.push_back({static_cast<size_t>(begin - text), static_cast<size_t>(end - text)});
      });
    }
    pieces.pieces = std::move(out);
  }

 private:
  Splitter splitter_;
};

class Digits : public PreTokenizerStep {
 public:
  explicit Digits(bool each) : each_(each) {}
  void run(Pieces& pieces) const override {
    cut_at_characters(pieces, each_ ? Behavior::isolated : Behavior::contiguous,
        [](uint32_t code) { return (unicode::properties()[code] & unicode::numeric) != 0; });
  }

 private:
  bool each_;
};

class Punctuation : public PreTokenizerStep {
 public:
  explicit Punctuation(Behavior behavior) : behavior_(behavior) {}
  void run(Pieces& pieces) const override { cut_at_characters(pieces, behavior_, is_punctuation); }

 private:
  Behavior behavior_;
};

// Keeps the matches of \w+|[^\w\s]+ and drops whitespace.
class Whitespace : public PreTokenizerStep {
 public:
  void run(Pieces& pieces) const override {
    std::vector<Pieces::Piece> out;
    const uint8_t* table = unicode::flag_table();
    for (const Pieces::Piece& piece : pieces.pieces) {
      uint8_t before = unicode::space;
      const std::string_view text = std::string_view(pieces.text.text).substr(piece.begin, piece.end - piece.begin);
      for_each_character(text, [&](uint32_t code, size_t begin, size_t size) {
        const uint8_t flags = unicode::flags_of(table, code);
        const uint8_t now = flags & unicode::word ? unicode::word : flags & unicode::space;
        if (now == unicode::space) {
        } else if (now == before) {
          out.back().end = piece.begin + begin + size;
        } else {
          out.push_back({piece.begin + begin, piece.begin + begin + size});
        }
        before = now;
      });
    }
    pieces.pieces = std::move(out);
  }
};

class WhitespaceSplit : public PreTokenizerStep {
 public:
  void run(Pieces& pieces) const override { cut_at_characters(pieces, Behavior::removed, is_space); }
};

// Drops whitespace and isolates each punctuation mark.
class Bert : public PreTokenizerStep {
 public:
  void run(Pieces& pieces) const override {
    std::vector<Pieces::Piece> out;
    for (const Pieces::Piece& piece : pieces.pieces) {
      bool inside = false;  // inside a word
      const std::string_view text = std::string_view(pieces.text.text).substr(piece.begin, piece.end - piece.begin);
      for_each_character(text, [&](uint32_t code, size_t begin, size_t size) {
        const size_t end = piece.begin + begin + size;
        if (is_space(code)) {
          inside = false;
        } else if (is_punctuation(code)) {
          out.push_back({piece.begin + begin, end});
          inside = false;
        } else if (inside) {
          out.back().end = end;
        } else {
          out.push_back({piece.begin + begin, end});
          inside = true;
        }
      });
    }
    pieces.pieces = std::move(out);
  }
};

class CharDelimiterSplit : public PreTokenizerStep {
 public:
  explicit CharDelimiterSplit(std::string_view delimiter) {
    int size = 0;
    delimiter_ = delimiter.empty() ? 0 : utf::decode(delimiter.data(), size);
  }
  void run(Pieces& pieces) const override {
    cut_at_characters(pieces, Behavior::removed, [this](uint32_t code) { return code == delimiter_; });
  }

 private:
  uint32_t delimiter_;
};

class Metaspace : public PreTokenizerStep {
 public:
  enum class Scheme : uint32_t { never, always, first };
  explicit Metaspace(const StepSpec& spec)
      : mark_(spec.content), scheme_(static_cast<Scheme>(spec.number)), splits_(spec.each) {}
  bool needs_origins() const override { return scheme_ == Scheme::first; }

  void run(Pieces& pieces) const override {
    const NormalizedText& text = pieces.text;
    rewrite(pieces, [&](TextBuilder& out, size_t begin, size_t end) {
      const std::string_view piece = std::string_view(text.text).substr(begin, end - begin);
      const bool there = piece[0] == ' ' || piece.substr(0, mark_.size()) == mark_;
      const bool wanted =
          scheme_ == Scheme::always || (scheme_ == Scheme::first && text.origins[begin].begin == text.start);
      if (wanted && !there && !continues_text(pieces, begin)) out.put(mark_, begin, begin);
      for (size_t i = begin; i < end;) {
        // Search this piece only. Searching the whole text for each of many pieces would take quadratic time.
        const size_t found = piece.find(' ', i - begin);
        const size_t next = found == std::string_view::npos ? end : begin + found;
        out.keep(i, next);
        if (next == end) break;
        out.put(mark_, next, next + 1);
        i = next + 1;
      }
    });
    if (!splits_) return;
    int size = 0;
    const uint32_t mark = utf::decode(mark_.data(), size);
    cut_at_characters(pieces, Behavior::merged_with_next, [mark](uint32_t code) { return code == mark; });
  }

 private:
  std::string mark_;
  Scheme scheme_;
  bool splits_;
};

// Splits at changes of script. Like in Hugging Face's library, text before the first letter of any script is dropped.
class UnicodeScripts : public PreTokenizerStep {
 public:
  void run(Pieces& pieces) const override {
    std::vector<Pieces::Piece> out;
    for (const Pieces::Piece& piece : pieces.pieces) {
      uint8_t last = 0;
      const std::string_view text = std::string_view(pieces.text.text).substr(piece.begin, piece.end - piece.begin);
      for_each_character(text, [&](uint32_t code, size_t begin, size_t size) {
        const uint8_t script = unicode::segment_scripts()[code];
        const size_t end = piece.begin + begin + size;
        if (script != 0 && script != last) {
          out.push_back({piece.begin + begin, end});
          last = script;
        } else if (last != 0) {
          out.back().end = end;
        }
      });
    }
    pieces.pieces = std::move(out);
  }
};

class FixedLength : public PreTokenizerStep {
 public:
  explicit FixedLength(uint32_t length) : length_(length) {}
  void run(Pieces& pieces) const override {
    std::vector<Pieces::Piece> out;
    for (const Pieces::Piece& piece : pieces.pieces) {
      uint32_t count = 0;
      const std::string_view text = std::string_view(pieces.text.text).substr(piece.begin, piece.end - piece.begin);
      for_each_character(text, [&](uint32_t, size_t begin, size_t size) {
        const size_t end = piece.begin + begin + size;
        if (count++ % length_ == 0) out.push_back({piece.begin + begin, end});
        else out.back().end = end;
      });
    }
    pieces.pieces = std::move(out);
  }

 private:
  uint32_t length_;
};

// Prepends a space to pieces that do not begin with one, splits by GPT-2's pattern, and maps bytes to characters. Each
// step is optional.
class ByteLevel : public PreTokenizerStep {
 public:
  explicit ByteLevel(const StepSpec& spec) : prefix_(spec.prefix), cuts_(spec.cuts), maps_(spec.each) {}
  void run(Pieces& pieces) const override {
    if (prefix_) {
      rewrite(pieces, [&](TextBuilder& out, size_t begin, size_t end) {
        if (pieces.text.text[begin] != ' ' && !continues_text(pieces, begin)) out.put(" ", begin, begin);
        out.keep(begin, end);
      });
    }
    if (cuts_) gpt2_.run(pieces);
    if (!maps_) return;
    std::string character;
    rewrite(pieces, [&](TextBuilder& out, size_t begin, size_t end) {
      for (size_t i = begin; i < end; ++i) {
        character.clear();
        utf::append_code(alphabet_.character(static_cast<uint8_t>(pieces.text.text[i])), character);
        out.put(character, i, i + 1);
      }
    });
  }

 private:
  static StepSpec gpt2_spec() {
    StepSpec spec;
    spec.number = static_cast<uint32_t>(SplitKind::gpt2);
    return spec;
  }
  bool prefix_, cuts_, maps_;
  NativePattern gpt2_{gpt2_spec()};
  ByteAlphabet alphabet_;
};

std::shared_ptr<const PreTokenizerStep> make_step(const StepSpec& spec) {
  const std::string& type = spec.type;
  if (spec.number > 1u << 20)
    throw invalid_file("pre_tokenizer: expected a length of at most 1048576, got " + std::to_string(spec.number));
  if (type == "Split") return std::make_shared<Pattern>(spec);
  if (type == "NativeSplit") return std::make_shared<NativePattern>(spec);
  if (type == "Digits") return std::make_shared<Digits>(spec.each);
  if (type == "Punctuation") return std::make_shared<Punctuation>(static_cast<Behavior>(spec.number));
  if (type == "Whitespace") return std::make_shared<Whitespace>();
  if (type == "WhitespaceSplit") return std::make_shared<WhitespaceSplit>();
  if (type == "BertPreTokenizer") return std::make_shared<Bert>();
  if (type == "CharDelimiterSplit") return std::make_shared<CharDelimiterSplit>(spec.pattern);
  if (type == "Metaspace") return std::make_shared<Metaspace>(spec);
  if (type == "UnicodeScripts") return std::make_shared<UnicodeScripts>();
  if (type == "FixedLength" && spec.number > 0) return std::make_shared<FixedLength>(spec.number);
  if (type == "ByteLevel") return std::make_shared<ByteLevel>(spec);
  throw Error("UNSUPPORTED", "pre_tokenizer: \"" + type.substr(0, 80) + "\" is not supported");
}

}  // namespace

PreTokenizer make_pre_tokenizer(const std::vector<StepSpec>& steps) {
  PreTokenizer pre_tokenizer;
  for (const StepSpec& step : steps) pre_tokenizer.push_back(make_step(step));
  return pre_tokenizer;
}

}  // namespace heddle
