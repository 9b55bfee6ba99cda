// Runs the programs of regular expressions.
#include <algorithm>
#include <cstring>

#include "core/error.h"
#include "tokenizer/regex/regex.h"
#include "tokenizer/text/utf.h"

namespace heddle {
namespace {

using Op = RegexInstruction::Op;
constexpr size_t none = SIZE_MAX;

class Matcher {
 public:
  Matcher(const RegexProgram& program, std::string_view text, uint64_t steps, const Cancellation& cancellation)
      : program_(program), text_(text), cancellation_(cancellation), budget_(steps),
        max_words_(base_words + words_a_byte * text.size()), runs_(program.code.size(), {0, 0}),
        failed_ranges_(program.code.size(), nothing) {
    steps_ = program.code.size() / instructions_a_step;  // the cost of creating these tables for each piece of a text
  }

  // Returns the end of the match that begins at `at`, or none.
  size_t match(size_t at) {
    attempt_steps_ = 0;
    if (failed_log_.empty()) base_ = at;
    const size_t end = run(0, at);
    if (end != none) forget(0);  // states visited on the path to a match have not failed
    return end;
  }

  // Work that costs about as much as one step: table entries filled, characters skipped.
  static constexpr uint64_t instructions_a_step = 8;
  static constexpr uint64_t characters_a_step = 2;
  // Limit of the table of failed states, in words of 8 bytes. Without it, a large program would need kilobytes per byte
  // of text.
  static constexpr uint64_t base_words = 1 << 24;
  static constexpr uint64_t words_a_byte = 16;
  uint64_t steps() const { return steps_; }
  bool spent() const { return steps_ > budget_; }

 private:
  struct State {
    uint32_t pc;
    size_t at;
    size_t low;  // for a span: the lowest position to continue from; otherwise equal to `at`
  };

  uint32_t code_at(size_t at, size_t& next) const {
    int size = 0;
    const uint32_t code = utf::decode(text_.data() + at, size);
    next = at + static_cast<size_t>(size);
    return code;
  }
  bool is_word(size_t at) const {
    size_t next = 0;
    return unicode::properties()[code_at(at, next)] & unicode::word_character;
  }
  size_t before(size_t at) const { return static_cast<size_t>(utf::previous(text_.data() + at) - text_.data()); }

  // Checks for cancellation, and returns false if the budget is used up. Sets `pause_` to the step of the next check.
  bool goes_on() {
    cancellation_.check();
    pause_ = std::min(budget_, steps_ + 0x10000);
    return steps_ <= budget_;
  }

  // Marks a state as tried. Returns false if it was tried before: it has failed, or is in progress in a loop. Also
  // returns false if a limit is exceeded. Only attempts of more than 512 steps use the table, because short ones are
  // cheaper to repeat.
  bool enter(uint32_t pc, size_t at) {
    if (++steps_ > pause_ && !goes_on()) return false;
    if (failed_log_.empty() && ++attempt_steps_ < 512) return true;
    const uint64_t bit = static_cast<uint64_t>(at - base_) * program_.code.size() + pc;
    if (std::max<uint64_t>(bit / 64, failed_log_.size()) >= max_words_) {
      steps_ = std::max(steps_, budget_ + 1);
      return false;
    }
    if (bit / 64 >= failed_.size())
      failed_.resize(std::max<size_t>(bit / 64 + 1, std::min<size_t>(2 * failed_.size(), max_words_)));
    uint64_t& word = failed_[bit / 64];
    const uint64_t mask = uint64_t{1} << (bit % 64);
    if (word & mask) return false;
    word |= mask;
    failed_log_.push_back(bit);
    Range& range = failed_ranges_[pc];
    if (range.begin <= range.end && range.begin > 0 && before(range.begin) == at) range.begin = at;
    else range = {at, at};
    return true;
  }

  // Clears the marks that were set after the first `count`.
  void forget(size_t count) {
    for (size_t i = count; i < failed_log_.size(); ++i) {
      failed_[failed_log_[i] / 64] &= ~(uint64_t{1} << (failed_log_[i] % 64));
    }
    if (count < failed_log_.size()) std::fill(failed_ranges_.begin(), failed_ranges_.end(), nothing);
    failed_log_.resize(count);
  }

  bool asserts(Op op, size_t at) const {
    const size_t end = text_.size();
    switch (op) {
      case Op::line_begin: return at == 0 || (text_[at - 1] == '\n' && at < end);
      case Op::line_end: return at == end || text_[at] == '\n';
      case Op::text_begin: return at == 0;
      case Op::text_end: return at == end;
      case Op::text_end_or_newline: return at == end || (at + 1 == end && text_[at] == '\n');
      default: break;
    }
    const bool boundary = (at > 0 && is_word(before(at))) != (at < end && is_word(at));
    return boundary == (op == Op::word_boundary);
  }

  // The recursion depth is that of nested groups, which the parser limits.
  size_t run(uint32_t start, size_t from) {
    const size_t bottom = stack_.size();
    stack_.push_back({start, from, from});
    size_t found = none;
    while (stack_.size() > bottom && found == none) {
      State& top = stack_.back();
      const uint32_t pc = top.pc;
      const size_t at = top.at;
      const Range& tried = failed_ranges_[pc];
      const bool known = at >= tried.begin && at <= tried.end;
      const size_t rest = known ? tried.begin : at;  // positions below this one have not been tried
      if (rest > top.low) top.at = before(rest);
      else stack_.pop_back();
      if (known) continue;
      found = advance(pc, at);
    }
    stack_.resize(bottom);
    return found;
  }

  // Runs from one state until the program matches or fails. Returns the end of the match, or none. Leaves untried
  // alternatives on the stack.
  size_t advance(uint32_t pc, size_t at) {
    for (;;) {
      if (!enter(pc, at)) return none;
      const RegexInstruction& step = program_.code[pc];
      size_t next = 0;
      switch (step.op) {
        case Op::match: return at;
        case Op::character:
          if (at >= text_.size() || code_at(at, next) != step.x) return none;
          at = next;
          ++pc;
          break;
        case Op::set:
          if (at >= text_.size() || !program_.sets[step.x].has(code_at(at, next))) return none;
          at = next;
          ++pc;
          break;
        case Op::span:
        case Op::span_all: {
          const RegexClass& set = program_.sets[step.x];
          size_t low = at;
          uint32_t count = 0;
          Range& run = runs_[pc];
          const size_t start = at;
          while (at < text_.size() && (step.z == 0 || count < step.z)) {
            if (step.z == 0 && count >= step.y && at >= run.begin && at < run.end) {
              at = run.end;  // the last span has already matched up to there
              break;
            }
            if (!set.has(code_at(at, next))) break;
            at = next;
            if (++count == step.y) low = at;
          }
          if (step.z == 0) run = {start, at};
          steps_ += count / characters_a_step;
          if (count < step.y) return none;
          ++pc;
          if (step.op == Op::span && low < at) stack_.push_back({pc, before(at), low});
          break;
        }
        case Op::split:
          stack_.push_back({step.y, at, at});
          pc = step.x;
          break;
        case Op::jump: pc = step.x; break;
        case Op::ahead:
        case Op::not_ahead:
          if ((inner(pc + 1, at) != none) != (step.op == Op::ahead)) return none;
          pc = step.x;
          break;
        case Op::behind:
        case Op::not_behind: {
          size_t start = at;
          uint32_t count = step.y;
          for (; count > 0 && start > 0; --count) start = before(start);
          steps_ += (step.y - count) / characters_a_step;
          const bool there = count == 0 && inner(pc + 1, start) == at;
          if (there != (step.op == Op::behind)) return none;
          pc = step.x;
          break;
        }
        case Op::atomic:
          at = inner(pc + 1, at);
          if (at == none) return none;
          pc = step.x;
          break;
        default:
          if (!asserts(step.op, at)) return none;
          ++pc;
      }
    }
  }

  // Runs a look-around or an atomic group. If it matches, clears the marks that it has set, because states on the path
  // to a match have not failed.
  size_t inner(uint32_t start, size_t at) {
    const size_t marks = failed_log_.size();
    const size_t end = run(start, at);
    if (end != none) forget(marks);
    return end;
  }

  struct Range {
    size_t begin, end;
  };
  static constexpr Range nothing{1, 0};

  const RegexProgram& program_;
  std::string_view text_;
  const Cancellation& cancellation_;
  uint64_t budget_, max_words_, steps_ = 0, attempt_steps_ = 0, pause_ = 0;
  size_t base_ = 0;                   // position of the first bits of failed_
  std::vector<State> stack_;          // states to try, the next one last
  std::vector<uint64_t> failed_;      // bit (position - base_) * (length of the program) + pc: the state was tried
  std::vector<uint64_t> failed_log_;  // the bits that are set, in the order of setting
  std::vector<Range> runs_;           // by instruction: range of the last span
  std::vector<Range> failed_ranges_;  // by instruction: inclusive range of positions that have all been tried
};

}  // namespace

Regex::Regex(std::string_view pattern, bool literal, const std::string& where)
    : where_(where), pattern_(pattern), literal_(literal) {
  if (literal_) return;
  program_ = compile_regex(pattern, where);
  // Collects the bytes that a match can begin with. Follows the program from its start to the instructions that read a
  // character.
  std::fill(std::begin(can_start_), std::end(can_start_), false);
  std::vector<uint32_t> pending{0};
  std::vector<bool> seen(program_.code.size());
  const auto add_set = [&](const RegexClass& set) {
    for (uint32_t code = 0; code < 128; ++code) can_start_[code] = can_start_[code] || set.has(code);
    for (int byte = 0xC2; byte <= 0xF4; ++byte) can_start_[byte] = true;
  };
  while (!pending.empty()) {
    const uint32_t pc = pending.back();
    pending.pop_back();
    if (seen[pc]) continue;
    seen[pc] = true;
    const RegexInstruction& step = program_.code[pc];
    switch (step.op) {
      case Op::match: can_be_empty_ = true; break;
      case Op::character: {
        std::string first;
        utf::append_code(step.x, first);
        can_start_[static_cast<uint8_t>(first[0])] = true;
        break;
      }
      case Op::set: add_set(program_.sets[step.x]); break;
      case Op::span:
      case Op::span_all:
        add_set(program_.sets[step.x]);
        if (step.y == 0) pending.push_back(pc + 1);
        break;
      case Op::split:
        pending.push_back(step.x);
        pending.push_back(step.y);
        break;
      case Op::jump:
      case Op::ahead:
      case Op::not_ahead:
      case Op::behind:
      case Op::not_behind: pending.push_back(step.x); break;
      case Op::atomic:
        pending.push_back(pc + 1);
        pending.push_back(step.x);
        break;
      default: pending.push_back(pc + 1);
    }
  }
}

bool Regex::may_begin_with(uint32_t code) const {
  std::string character;
  utf::append_code(code, character);
  if (literal_) return pattern_.compare(0, character.size(), character) == 0;
  return can_be_empty_ || can_start_[static_cast<uint8_t>(character[0])];
}

void Regex::find_all(
    std::string_view text, std::vector<Match>& out, RegexBudget& budget, const Cancellation& cancellation) const {
  out.clear();
  if (literal_) {
    // An empty pattern matches nothing, like in Hugging Face's library. Otherwise it would match at every position.
    if (pattern_.empty()) return;
    for (size_t at = text.find(pattern_); at != std::string_view::npos;
        at = text.find(pattern_, at + pattern_.size())) {
      out.push_back({at, at + pattern_.size()});
    }
    return;
  }
  Matcher matcher(program_, text, budget.left(), cancellation);
  size_t last_end = none;
  for (size_t at = 0; at <= text.size();) {
    size_t end = none;
    if (can_be_empty_ || (at < text.size() && can_start_[static_cast<uint8_t>(text[at])])) end = matcher.match(at);
    if (matcher.spent()) {
      budget.spend(budget.left());
      throw invalid_file(where_ + ": expected at most " + std::to_string(budget.steps()) + " steps for a text of " +
                         std::to_string(budget.bytes()) + " bytes, got more for the pattern " + pattern_.substr(0, 80));
    }
    const size_t after = at < text.size() ? at + static_cast<size_t>(utf::sequence_length(text[at])) : at + 1;
    if (end == none || (end == at && last_end == at)) {
      at = after;
      continue;
    }
    out.push_back({at, end});
    last_end = end;
    at = end;
  }
  // Storing a match and splitting the text there costs about as much as this number of steps.
  constexpr uint64_t match_steps = 16;
  budget.spend(matcher.steps() + match_steps * out.size());
}

}  // namespace heddle
