// Compiles regular expressions to programs.
#include <algorithm>

#include "core/error.h"
#include "tokenizer/regex/regex.h"
#include "tokenizer/regex/regex_tree.h"

namespace heddle {
namespace {

using Kind = RegexNode::Kind;
using Op = RegexInstruction::Op;
constexpr size_t max_program = 20000;
constexpr size_t max_pattern = 4096;

class Compiler {
 public:
  Compiler(std::string_view pattern, const std::string& where) : pattern_(pattern), where_(where) {}

  RegexProgram compile(const RegexNode& root) {
    add(root);
    emit(Op::match);
    return std::move(program_);
  }

 private:
  uint32_t here() const { return static_cast<uint32_t>(program_.code.size()); }

  uint32_t emit(Op op, uint32_t x = 0, uint32_t y = 0, uint32_t z = 0) {
    if (program_.code.size() >= max_program) {
      throw invalid_file(where_ + ": expected at most " + std::to_string(max_program) +
                         " instructions, got more for the pattern " + std::string(pattern_.substr(0, 80)));
    }
    program_.code.push_back({op, x, y, z});
    return here() - 1;
  }

  uint32_t add_set(const RegexClass& set) {
    program_.sets.push_back(set);
    return static_cast<uint32_t>(program_.sets.size() - 1);
  }

  void add(const RegexNode& node) {
    // Nested repetitions of an empty group emit no instructions, but compiling them takes time.
    if (++added_ > 16 * max_program) {
      throw invalid_file(where_ + ": expected a pattern of at most " + std::to_string(16 * max_program) + " parts");
    }
    switch (node.kind) {
      case Kind::empty: return;
      case Kind::character: emit(Op::character, node.code); return;
      case Kind::set: emit(Op::set, add_set(node.set)); return;
      case Kind::sequence:
        for (const auto& part : node.parts) add(*part);
        return;
      case Kind::alternatives: alternatives(node); return;
      case Kind::repeat: repeat(node); return;
      case Kind::ahead: around(Op::ahead, *node.parts[0], 0); return;
      case Kind::not_ahead: around(Op::not_ahead, *node.parts[0], 0); return;
      case Kind::atomic: around(Op::atomic, *node.parts[0], 0); return;
      case Kind::behind:
      case Kind::not_behind: behind(node); return;
      case Kind::line_begin: emit(Op::line_begin); return;
      case Kind::line_end: emit(Op::line_end); return;
      case Kind::text_begin: emit(Op::text_begin); return;
      case Kind::text_end: emit(Op::text_end); return;
      case Kind::text_end_or_newline: emit(Op::text_end_or_newline); return;
      case Kind::word_boundary: emit(Op::word_boundary); return;
      case Kind::no_word_boundary: emit(Op::no_word_boundary); return;
    }
  }

  void alternatives(const RegexNode& node) {
    std::vector<uint32_t> ends;
    for (size_t i = 0; i < node.parts.size(); ++i) {
      if (i + 1 == node.parts.size()) {
        add(*node.parts[i]);
        break;
      }
      const uint32_t split = emit(Op::split);
      program_.code[split].x = here();
      add(*node.parts[i]);
      ends.push_back(emit(Op::jump));
      program_.code[split].y = here();
    }
    for (const uint32_t end : ends) program_.code[end].x = here();
  }

  // Returns the set of a node that always matches one character, or -1.
  int64_t single(const RegexNode& node) {
    if (node.kind == Kind::set) return add_set(node.set);
    if (node.kind == Kind::sequence && node.parts.size() == 1) return single(*node.parts[0]);
    if (node.kind != Kind::character) return -1;
    RegexClass set;
    set.add_range(node.code, node.code);
    set.finish();
    return add_set(set);
  }

  // Whether a node can match the empty string.
  static bool nullable(const RegexNode& node) {
    const auto is = [](const auto& part) { return nullable(*part); };
    switch (node.kind) {
      case Kind::character:
      case Kind::set: return false;
      case Kind::sequence:
      case Kind::atomic: return std::all_of(node.parts.begin(), node.parts.end(), is);
      case Kind::alternatives: return std::any_of(node.parts.begin(), node.parts.end(), is);
      case Kind::repeat: return node.least == 0 || nullable(*node.parts[0]);
      default: return true;
    }
  }

  // Whether a node may match the empty string before it has tried all other alternatives.
  static bool prefers_nothing(const RegexNode& node) {
    if (node.kind == Kind::repeat && node.greed == RegexNode::Greed::least && nullable(node)) return true;
    for (size_t i = 0; i < node.parts.size(); ++i) {
      if (node.kind == Kind::alternatives && i + 1 < node.parts.size() && nullable(*node.parts[i])) return true;
      if (prefers_nothing(*node.parts[i])) return true;
    }
    return false;
  }

  void repeat(const RegexNode& node) {
    const RegexNode& inner = *node.parts[0];
    if (node.most == 0 && nullable(inner) && prefers_nothing(inner)) {
      // Oniguruma leaves the loop after an empty iteration. This matcher would try the next alternative instead.
      refuse_regex(where_, "an unlimited repetition of a part that may prefer the empty match", pattern_);
    }
    if (node.greed != RegexNode::Greed::least) {
      if (const int64_t set = single(inner); set >= 0) {
        const Op op = node.greed == RegexNode::Greed::possessive ? Op::span_all : Op::span;
        emit(op, static_cast<uint32_t>(set), node.least, node.most);
        return;
      }
    }
    if (node.greed == RegexNode::Greed::possessive) {
      const uint32_t start = emit(Op::atomic);
      loop(inner, node.least, node.most, true);
      emit(Op::match);
      program_.code[start].x = here();
      return;
    }
    loop(inner, node.least, node.most, node.greed == RegexNode::Greed::most);
  }

  void loop(const RegexNode& inner, uint32_t least, uint32_t most, bool greedy) {
    for (uint32_t i = 0; i < least; ++i) add(inner);
    std::vector<uint32_t> exits;
    const auto branch = [&] {  // enters the loop, or leaves it
      exits.push_back(emit(Op::split));
      (greedy ? program_.code[exits.back()].x : program_.code[exits.back()].y) = here();
    };
    if (most == 0) {
      branch();
      const uint32_t start = exits.back();
      add(inner);
      emit(Op::jump, start);
    } else {
      for (uint32_t i = least; i < most; ++i) {
        branch();
        add(inner);
      }
    }
    for (const uint32_t exit : exits) (greedy ? program_.code[exit].y : program_.code[exit].x) = here();
  }

  void around(Op op, const RegexNode& inner, uint32_t width) {
    const uint32_t start = emit(op, 0, width);
    add(inner);
    emit(Op::match);
    program_.code[start].x = here();
  }

  static constexpr int64_t max_width = int64_t{1} << 30;  // more than any program can match

  // Returns the number of characters that a node matches, or -1 if it is not fixed.
  int64_t width(const RegexNode& node) const {
    switch (node.kind) {
      case Kind::character:
      case Kind::set: return 1;
      case Kind::sequence: {
        int64_t sum = 0;
        for (const auto& part : node.parts) {
          const int64_t each = width(*part);
          if (each < 0) return -1;
          sum += each;
          if (sum > max_width) return -1;
        }
        return sum;
      }
      case Kind::alternatives: {
        const int64_t first = width(*node.parts[0]);
        // Starts at 1: computing the first again would take time exponential in the nesting depth.
        for (size_t i = 1; i < node.parts.size(); ++i) {
          if (width(*node.parts[i]) != first) return -1;
        }
        return first;
      }
      case Kind::repeat: {
        const int64_t each = width(*node.parts[0]);
        if (each < 0 || node.least != node.most || each * node.least > max_width) return -1;
        return each * node.least;
      }
      case Kind::atomic: return width(*node.parts[0]);
      default: return 0;
    }
  }

  // Compiles lookbehind: (?<=a|bc) is (?:(?<=a)|(?<=bc)); (?<!a|bc) is (?<!a)(?<!bc).
  void behind(const RegexNode& node) {
    const RegexNode* inner = node.parts[0].get();
    while (inner->kind == Kind::sequence && inner->parts.size() == 1) inner = inner->parts[0].get();
    std::vector<const RegexNode*> choices;
    if (inner->kind == Kind::alternatives) {
      for (const auto& part : inner->parts) choices.push_back(part.get());
    } else {
      choices.push_back(inner);
    }
    std::vector<uint32_t> ends;
    for (size_t i = 0; i < choices.size(); ++i) {
      const int64_t count = width(*choices[i]);
      if (count < 0) refuse_regex(where_, "a look-behind of variable length", pattern_);
      if (node.kind == Kind::not_behind) {
        around(Op::not_behind, *choices[i], static_cast<uint32_t>(count));
        continue;
      }
      const bool last = i + 1 == choices.size();
      const uint32_t split = last ? 0 : emit(Op::split);
      if (!last) program_.code[split].x = here();
      around(Op::behind, *choices[i], static_cast<uint32_t>(count));
      if (last) break;
      ends.push_back(emit(Op::jump));
      program_.code[split].y = here();
    }
    for (const uint32_t end : ends) program_.code[end].x = here();
  }

  std::string_view pattern_;
  const std::string& where_;
  size_t added_ = 0;
  RegexProgram program_;
};

}  // namespace

RegexProgram compile_regex(std::string_view pattern, const std::string& where) {
  if (pattern.size() > max_pattern) {
    throw invalid_file(where + ": expected a pattern of at most " + std::to_string(max_pattern) + " bytes, got " +
                       std::to_string(pattern.size()));
  }
  const std::unique_ptr<RegexNode> root = parse_regex(pattern, where);
  return Compiler(pattern, where).compile(*root);
}

}  // namespace heddle
