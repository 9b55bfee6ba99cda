// The syntax of regular expressions: Oniguruma's Ruby mode.
#include <algorithm>
#include <utility>

#include "runtime/error.h"
#include "tokenizer/regex_tree.h"
#include "tokenizer/utf.h"

namespace heddle {
namespace {

using Kind = RegexNode::Kind;
using Node = std::unique_ptr<RegexNode>;
constexpr uint32_t end_of_pattern = UINT32_MAX;
constexpr int max_depth = 64;
constexpr uint32_t max_repeat = 1000;

Node make(Kind kind) {
  Node node = std::make_unique<RegexNode>();
  node->kind = kind;
  return node;
}

int hex_value(uint32_t c) {
  return c >= '0' && c <= '9' ? static_cast<int>(c - '0')
         : c >= 'a' && c <= 'f' ? static_cast<int>(c - 'a') + 10
         : c >= 'A' && c <= 'F' ? static_cast<int>(c - 'A') + 10
                                : -1;
}

struct Options {
  bool ignore_case = false, dot_takes_newline = false, extended = false;
};

class Parser {
 public:
  Parser(std::string_view pattern, const std::string& where) : pattern_(pattern), where_(where) {}

  Node parse() {
    Node node = alternatives(Options{}, 0);
    if (at_ < pattern_.size()) refuse("an unmatched )");
    return node;
  }

 private:
  [[noreturn]] void refuse(const std::string& what) const { refuse_regex(where_, what, pattern_); }

  uint32_t peek() const {
    if (at_ >= pattern_.size()) return end_of_pattern;
    int size = 0;
    return utf::decode(pattern_.data() + at_, size);
  }
  uint32_t take() {
    if (at_ >= pattern_.size()) refuse("an end too early");
    int size = 0;
    const uint32_t code = utf::decode(pattern_.data() + at_, size);
    at_ += static_cast<size_t>(size);
    return code;
  }
  bool take_if(std::string_view text) {
    if (pattern_.substr(at_, text.size()) != text) return false;
    at_ += text.size();
    return true;
  }

  Node alternatives(Options options, int depth) {
    if (depth > max_depth) refuse("deep nesting");
    Node all = make(Kind::alternatives);
    all->parts.push_back(sequence(options, depth));
    while (take_if("|")) all->parts.push_back(sequence(options, depth));
    if (all->parts.size() == 1) return std::move(all->parts[0]);
    return all;
  }

  Node sequence(Options& options, int depth) {
    Node all = make(Kind::sequence);
    while (at_ < pattern_.size() && peek() != '|' && peek() != ')') {
      if (options.extended && skip_blank()) continue;
      if (inline_options(options)) {
        // (?i) holds to the end of the group, other alternatives included.
        all->parts.push_back(alternatives(options, depth + 1));
        continue;
      }
      Node part = atom(options, depth);
      for (int wraps = 0; Node repeated = quantified(part); ++wraps) {
        if (wraps > 8) refuse("quantifiers one after the other");
        part = std::move(repeated);
      }
      all->parts.push_back(std::move(part));
    }
    return all;
  }

  bool skip_blank() {
    const uint32_t c = peek();
    if (c == ' ' || (c >= '\t' && c <= '\r')) {
      ++at_;
      return true;
    }
    if (c != '#') return false;
    while (at_ < pattern_.size() && pattern_[at_] != '\n') ++at_;
    return true;
  }

  // (?imx-imx) alone; false, with nothing taken, for anything else.
  bool inline_options(Options& options) {
    const size_t before = at_;
    Options changed = options;
    if (take_if("(?") && read_options(changed) && take_if(")")) {
      options = changed;
      return true;
    }
    at_ = before;
    return false;
  }

  bool read_options(Options& options) {
    bool on = true;
    for (;; ++at_) {
      switch (peek()) {
        case '-': on = false; break;
        case 'i': options.ignore_case = on; break;
        case 'm': options.dot_takes_newline = on; break;
        case 'x': options.extended = on; break;
        default: return true;
      }
    }
  }

  // The node with the quantifier that stands here, or null.
  Node quantified(Node& inner) {
    uint32_t least = 0, most = 0;
    bool braces = false;
    const size_t before = at_;
    switch (peek()) {
      case '*': ++at_; break;
      case '+': ++at_; least = 1; break;
      case '?': ++at_; most = 1; break;
      case '{':
        if (!interval(least, most)) {
          at_ = before;
          return nullptr;
        }
        braces = true;
        break;
      default: return nullptr;
    }
    Node node = make(Kind::repeat);
    node->least = least;
    node->most = most;
    if (take_if("?")) {
      if (braces && least == most) {  // a{2}? is (?:a{2})?
        node->parts.push_back(std::move(inner));
        Node optional = make(Kind::repeat);
        optional->most = 1;
        optional->parts.push_back(std::move(node));
        return optional;
      }
      node->greed = RegexNode::Greed::least;
    } else if (!braces && take_if("+")) {
      node->greed = RegexNode::Greed::possessive;
    }
    if (braces && least == 0 && most == 0) return make(Kind::empty);  // {0}; "no limit" has taken another way out
    if (most == unlimited) node->most = 0;
    node->parts.push_back(std::move(inner));
    return node;
  }

  static constexpr uint32_t unlimited = UINT32_MAX;

  // {n}, {n,}, {n,m}, {,m}; anything else is text.
  bool interval(uint32_t& least, uint32_t& most) {
    ++at_;
    const bool has_least = number(least);
    if (take_if("}")) {
      most = least;
      return has_least;
    }
    if (!take_if(",")) return false;
    if (!number(most)) {
      if (!has_least) return false;
      most = unlimited;
    }
    if (!take_if("}")) return false;
    if (most < least) refuse("{n,m} with n above m");
    return true;
  }

  bool number(uint32_t& value) {
    value = 0;
    const size_t begin = at_;
    while (at_ < pattern_.size() && pattern_[at_] >= '0' && pattern_[at_] <= '9') {
      value = 10 * value + static_cast<uint32_t>(pattern_[at_++] - '0');
      if (value > max_repeat) refuse("a repetition above " + std::to_string(max_repeat));
    }
    return at_ > begin;
  }

  Node atom(Options options, int depth) {
    const uint32_t c = take();
    switch (c) {
      case '(': return group(options, depth);
      case '[': {
        Node node = make(Kind::set);
        node->set = bracket(options, depth + 1);
        node->set.finish();
        return node;
      }
      case '.': {
        Node node = make(Kind::set);
        if (!options.dot_takes_newline) node->set.add_range('\n', '\n');
        node->set.invert();
        node->set.finish();
        return node;
      }
      case '^': return make(Kind::line_begin);
      case '$': return make(Kind::line_end);
      case '*':
      case '+':
      case '?': refuse("a quantifier of nothing");
      case '\\': return escape(options);
      default: return literal(c, options);
    }
  }

  Node literal(uint32_t code, const Options& options) const {
    const uint32_t lower = code >= 'A' && code <= 'Z' ? code + 32 : code;
    if (options.ignore_case && code >= 128) refuse("a letter without case beyond ASCII");
    if (!options.ignore_case || lower < 'a' || lower > 'z') {
      Node node = make(Kind::character);
      node->code = code;
      return node;
    }
    Node node = make(Kind::set);
    node->set.add_range(code, code);
    node->set.ignore_case();
    node->set.finish();
    return node;
  }

  Node group(Options options, int depth) {
    Kind kind = Kind::sequence;
    if (take_if("?")) {
      if (take_if("#")) {
        while (take() != ')') {
        }
        return make(Kind::empty);
      }
      if (take_if(":")) kind = Kind::sequence;
      else if (take_if("=")) kind = Kind::ahead;
      else if (take_if("!")) kind = Kind::not_ahead;
      else if (take_if(">")) kind = Kind::atomic;
      else if (take_if("<=")) kind = Kind::behind;
      else if (take_if("<!")) kind = Kind::not_behind;
      else if (take_if("<")) {
        while (take() != '>') {
        }
      } else {
        read_options(options);
        if (!take_if(":")) refuse("a group of an unknown kind");
      }
    }
    Node inner = alternatives(options, depth + 1);
    if (!take_if(")")) refuse("an unmatched (");
    if (kind == Kind::sequence) return inner;
    Node node = make(kind);
    node->parts.push_back(std::move(inner));
    return node;
  }

  Node escape(const Options& options) {
    switch (peek()) {
      case 'A': ++at_; return make(Kind::text_begin);
      case 'z': ++at_; return make(Kind::text_end);
      case 'Z': ++at_; return make(Kind::text_end_or_newline);
      case 'b': ++at_; return make(Kind::word_boundary);
      case 'B': ++at_; return make(Kind::no_word_boundary);
      default: break;
    }
    Node node = make(Kind::set);
    if (class_escape(node->set)) {
      node->set.finish();
      return node;
    }
    return literal(character_escape(false), options);
  }

  // \s and its like, \p{...}; false, with nothing taken, for an escaped character.
  bool class_escape(RegexClass& set) {
    const uint32_t c = peek();
    const uint32_t lower = c >= 'A' && c <= 'Z' ? c + 32 : c;
    const bool inverted = c != lower;
    RegexClass inner;
    switch (lower) {
      case 's': add_space(inner); break;
      case 'd': inner.add_categories(category("Nd")); break;
      case 'w': inner.add_property(unicode::word_character); break;
      case 'h':
        inner.add_range('0', '9');
        inner.add_range('a', 'f');
        inner.add_range('A', 'F');
        break;
      case 'p':
        ++at_;
        set.add_class(property(), inverted);
        return true;
      default: return false;
    }
    ++at_;
    set.add_class(inner, inverted);
    return true;
  }

  static void add_space(RegexClass& set) {
    set.add_categories(category("Z"));
    set.add_range('\t', '\r');
    set.add_range(0x85, 0x85);
  }

  // Bits of the categories whose name begins so.
  static uint32_t category(std::string_view name) {
    uint32_t mask = 0;
    for (size_t i = 0; i < std::size(unicode::category_names); ++i) {
      if (unicode::category_names[i].substr(0, name.size()) == name) mask |= 1u << i;
    }
    return mask;
  }

  // {Name} or {^Name} after \p.
  RegexClass property() {
    if (!take_if("{")) refuse("\\p without {");
    const bool inverted = take_if("^");
    const size_t end = pattern_.find('}', at_);
    if (end == std::string_view::npos || end - at_ > 40) refuse("\\p without }");
    const std::string_view name = pattern_.substr(at_, end - at_);
    at_ = end + 1;
    RegexClass set;
    if (!named(name, set)) refuse("\\p{" + std::string(name) + "}");
    if (inverted) set.invert();
    return set;
  }

  static bool named(std::string_view name, RegexClass& set) {
    const auto is = [&](std::string_view other) {
      return name.size() == other.size() && std::equal(name.begin(), name.end(), other.begin(), [](char a, char b) {
               return (a | 0x20) == (b | 0x20);
             });
    };
    static constexpr std::pair<std::string_view, std::string_view> longer[] = {
        {"Letter", "L"}, {"Mark", "M"}, {"Number", "N"}, {"Punctuation", "P"}, {"Symbol", "S"}, {"Separator", "Z"},
        {"Other", "C"}, {"Uppercase_Letter", "Lu"}, {"Lowercase_Letter", "Ll"}, {"Decimal_Number", "Nd"}};
    for (const auto& [full, brief] : longer) {
      if (is(full)) name = brief;
    }
    if (name.size() <= 2) {
      const std::string exact = name.size() == 2 ? std::string{static_cast<char>(name[0] & ~0x20), static_cast<char>(name[1] | 0x20)}
                                                 : std::string{static_cast<char>(name[0] & ~0x20)};
      const uint32_t mask = name.empty() ? 0 : category(exact);
      if (mask != 0) {
        set.add_categories(mask);
        return true;
      }
    }
    if (is("Alphabetic") || is("Alpha")) set.add_property(unicode::alphabetic);
    else if (is("Word")) set.add_property(unicode::word_character);
    else if (is("Punct")) set.add_property(unicode::posix_punct);
    else if (is("Space") || is("White_Space")) add_space(set);
    else if (is("Digit")) set.add_categories(category("Nd"));
    else if (is("Cntrl")) set.add_categories(category("Cc"));
    else if (is("ASCII")) set.add_range(0, 127);
    else if (is("Any")) set.add_range(0, 0x10FFFF);
    else if (is("Alnum")) {
      set.add_property(unicode::alphabetic);
      set.add_categories(category("Nd"));
    } else if (is("XDigit")) {
      set.add_range('0', '9');
      set.add_range('a', 'f');
      set.add_range('A', 'F');
    } else if (is("Blank")) {
      set.add_range('\t', '\t');
      set.add_categories(category("Zs"));
    } else if (const uint8_t script = unicode::script_named(name)) {
      set.add_script(script);
    } else {
      return false;
    }
    return true;
  }

  uint32_t hex(size_t least, size_t most) {
    uint32_t value = 0;
    size_t count = 0;
    for (; count < most && at_ < pattern_.size() && hex_value(static_cast<uint8_t>(pattern_[at_])) >= 0; ++count, ++at_) {
      value = 16 * value + static_cast<uint32_t>(hex_value(static_cast<uint8_t>(pattern_[at_])));
    }
    if (count < least) refuse("an escape without digits");
    return value;
  }

  // The code point that an escape stands for; at_ is after the backslash.
  uint32_t character_escape(bool in_class) {
    const uint32_t c = take();
    switch (c) {
      case 'n': return '\n';
      case 'r': return '\r';
      case 't': return '\t';
      case 'f': return '\f';
      case 'v': return '\v';
      case 'a': return 7;
      case 'e': return 27;
      case 'b':
        if (in_class) return 8;
        break;
      case '0': return hex_or_octal();
      case 'u': return checked(hex(4, 4));
      case 'x':
        if (take_if("{")) {
          const uint32_t code = hex(1, 8);
          if (!take_if("}")) refuse("\\x{ without }");
          return checked(code);
        } else {
          const uint32_t code = hex(1, 2);
          if (code >= 128) refuse("a byte beyond ASCII");
          return code;
        }
      default: break;
    }
    if ((c >= '1' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) {
      refuse(std::string("\\") + static_cast<char>(c));
    }
    return c;  // an escape that means itself, such as \'
  }

  uint32_t hex_or_octal() {
    uint32_t value = 0;
    for (int i = 0; i < 2 && peek() >= '0' && peek() <= '7'; ++i) value = 8 * value + (take() - '0');
    return value;
  }

  uint32_t checked(uint32_t code) const {
    if (code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF)) refuse("a number that is no character");
    return code;
  }

  // After "[": to the matching "]".
  RegexClass bracket(const Options& options, int depth) {
    if (depth > max_depth) refuse("deep nesting");
    RegexClass set;
    const bool inverted = take_if("^");
    std::vector<RegexClass> others;  // what && joins
    for (bool first = true;; first = false) {
      if (!first && take_if("]")) break;
      if (take_if("&&")) {
        others.push_back(std::move(set));
        set = RegexClass();
        first = true;
        continue;
      }
      if (take_if("[:")) {
        const bool no = take_if("^");
        const size_t end = pattern_.find(":]", at_);
        RegexClass posix;
        if (end == std::string_view::npos || end - at_ > 20 || !named(pattern_.substr(at_, end - at_), posix)) {
          refuse("a bracket of an unknown name");
        }
        at_ = end + 2;
        set.add_class(posix, no);
        continue;
      }
      if (take_if("[")) {
        set.add_class(bracket(options, depth + 1));
        continue;
      }
      if (peek() == '\\') {
        ++at_;
        if (class_escape(set)) continue;
        --at_;
      }
      const uint32_t begin = class_character();
      if (peek() == '-' && at_ + 1 < pattern_.size() && pattern_[at_ + 1] != ']') {
        const size_t before = at_++;
        if (peek() == '[' || (peek() == '\\' && is_class_escape())) {
          at_ = before;  // the "-" is itself
          set.add_range(begin, begin);
          continue;
        }
        const uint32_t end = class_character();
        if (end < begin) refuse("a range from above to below");
        const bool caseless = end < 128 || (begin >= 0x2E80 && end < 0xA640);  // scripts of East Asia
        if (options.ignore_case && !caseless) refuse("letters without case beyond ASCII");
        set.add_range(begin, end);
        continue;
      }
      set.add_range(begin, begin);
    }
    if (options.ignore_case) {  // before what is said of all the class: [^a] without case has no A
      set.ignore_case();
      for (RegexClass& other : others) other.ignore_case();
    }
    for (const RegexClass& other : others) set.intersect(other);
    if (inverted) set.invert();
    return set;
  }

  bool is_class_escape() {
    const size_t before = at_++;
    RegexClass ignored;
    const bool is = class_escape(ignored);
    at_ = before;
    return is;
  }

  uint32_t class_character() {
    const uint32_t c = take();
    return c == '\\' ? character_escape(true) : c;
  }

  std::string_view pattern_;
  const std::string& where_;
  size_t at_ = 0;
};

}  // namespace

void refuse_regex(const std::string& where, const std::string& what, std::string_view pattern) {
  throw Error("UNSUPPORTED", where + ": " + what + " in the pattern " + std::string(pattern.substr(0, 80)) +
                                 " is not supported");
}

Node parse_regex(std::string_view pattern, const std::string& where) { return Parser(pattern, where).parse(); }

}  // namespace heddle
