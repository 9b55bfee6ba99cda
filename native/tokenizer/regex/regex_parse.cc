// Parses regular expressions with the syntax of Oniguruma's Ruby mode.
#include <algorithm>
#include <utility>

#include "core/error.h"
#include "tokenizer/regex/regex_names.h"
#include "tokenizer/regex/regex_reader.h"
#include "tokenizer/regex/regex_tree.h"
#include "tokenizer/text/utf.h"

namespace heddle {
namespace {

using Kind = RegexNode::Kind;
using Node = std::unique_ptr<RegexNode>;
constexpr uint32_t max_repeat = 1000;
constexpr int max_quantifiers = 8;  // after one operand

Node make(Kind kind) {
  Node node = std::make_unique<RegexNode>();
  node->kind = kind;
  return node;
}

class Parser : private RegexReader {
 public:
  using RegexReader::RegexReader;

  Node parse() {
    Node node = alternatives(RegexOptions{}, 0);
    if (at_ < pattern_.size()) refuse("an unmatched )");
    return node;
  }

 private:
  Node alternatives(RegexOptions options, int depth) {
    if (depth > RegexReader::max_depth) refuse("deep nesting");
    Node all = make(Kind::alternatives);
    all->parts.push_back(sequence(options, depth));
    while (take_if("|")) all->parts.push_back(sequence(options, depth));
    if (all->parts.size() == 1) return std::move(all->parts[0]);
    return all;
  }

  Node sequence(RegexOptions& options, int depth) {
    Node all = make(Kind::sequence);
    while (at_ < pattern_.size() && peek() != '|' && peek() != ')') {
      if (options.extended && skip_blank()) continue;
      if (inline_options(options)) {
        // (?i) applies to the rest of the group, including its other alternatives.
        all->parts.push_back(alternatives(options, depth + 1));
        continue;
      }
      Node part = atom(options, depth);
      for (int wraps = 0; Node repeated = quantified(part); ++wraps) {
        if (wraps == max_quantifiers) {
          refuse("more than " + std::to_string(max_quantifiers) + " consecutive quantifiers");
        }
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

  // Parses (?imx-imx). Returns false and consumes nothing for anything else.
  bool inline_options(RegexOptions& options) {
    const size_t before = at_;
    RegexOptions changed = options;
    if (take_if("(?") && read_options(changed) && take_if(")")) {
      options = changed;
      return true;
    }
    at_ = before;
    return false;
  }

  bool read_options(RegexOptions& options) {
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

  // Returns `inner` repeated by the quantifier at the current position. Returns null if there is no quantifier.
  Node quantified(Node& inner) {
    uint32_t least = 0, most = 0;
    bool braces = false;
    const size_t before = at_;
    switch (peek()) {
      case '*': ++at_; break;
      case '+':
        ++at_;
        least = 1;
        break;
      case '?':
        ++at_;
        most = 1;
        break;
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
    // {0} and {0,0} match only the empty string. In braces, a missing limit is `unlimited` at this point, not 0.
    if (braces && least == 0 && most == 0) return make(Kind::empty);
    if (most == unlimited) node->most = 0;
    node->parts.push_back(std::move(inner));
    return node;
  }

  static constexpr uint32_t unlimited = UINT32_MAX;

  // Parses {n}, {n,}, {n,m} or {,m}. Returns false for anything else, which is literal text.
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

  Node atom(RegexOptions options, int depth) {
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
      case '?': refuse("a quantifier without an operand");
      case '\\': return escape(options);
      default: return literal(c, options);
    }
  }

  Node literal(uint32_t code, const RegexOptions& options) const {
    const uint32_t lower = code >= 'A' && code <= 'Z' ? code + 32 : code;
    if (options.ignore_case && code >= 128 && may_have_case(code)) refuse("(?i) with a letter beyond ASCII");
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

  Node group(RegexOptions options, int depth) {
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
        if (!take_if(":")) refuse("an unknown kind of group");
      }
    }
    Node inner = alternatives(options, depth + 1);
    if (!take_if(")")) refuse("an unmatched (");
    if (kind == Kind::sequence) return inner;
    Node node = make(kind);
    node->parts.push_back(std::move(inner));
    return node;
  }

  Node escape(const RegexOptions& options) {
    switch (peek()) {
      case 'A': ++at_; return make(Kind::text_begin);
      case 'z': ++at_; return make(Kind::text_end);
      case 'Z': ++at_; return make(Kind::text_end_or_newline);
      case 'b': ++at_; return make(Kind::word_boundary);
      case 'B': ++at_; return make(Kind::no_word_boundary);
      default: break;
    }
    Node node = make(Kind::set);
    if (class_escape(node->set, false)) {
      node->set.finish();
      return node;
    }
    return literal(character_escape(false), options);
  }
};

}  // namespace

void refuse_regex(const std::string& where, const std::string& what, std::string_view pattern) {
  throw Error("UNSUPPORTED",
      where + ": " + what + " in the pattern " + std::string(pattern.substr(0, 80)) + " is not supported");
}

Node parse_regex(std::string_view pattern, const std::string& where) { return Parser(pattern, where).parse(); }

}  // namespace heddle
