// Splits PTX into tokens (section "Syntax" of the manual).
#pragma once
#include <cctype>

#include "simulator/ptx/module.h"

namespace simulator {

class Lexer {
 public:
  Lexer(const std::string& text, size_t at) : text_(text), at_(at) {}

  // Returns the next token, or "" at the end. An identifier includes its %, dots and double colons. A number is one
  // token.
  std::string next() {
    const std::string token = peek();
    at_ = after_;
    return token;
  }
  const std::string& peek() {
    skip();
    if (seen_ != at_ || token_.empty()) scan();
    return token_;
  }
  bool take(const char* wanted) {
    if (peek() != wanted) return false;
    next();
    return true;
  }
  void expect(const char* wanted) {
    if (!take(wanted)) fail(std::string("expected ") + wanted + ", got " + peek());
  }
  size_t at() const { return at_; }
  void move_to(size_t at) {
    at_ = at;
    if (counted_ > at) counted_ = at;  // lines_ does not decrease, so line numbers after a move back are too large
  }
  int line() {
    for (; counted_ < at_; ++counted_) lines_ += text_[counted_] == '\n';
    return lines_;
  }
  [[noreturn]] void fail(const std::string& what) {
    throw Failure("PTX, line " + std::to_string(line()) + " of the entry: " + what);
  }
  // Makes the current line number 1.
  void start_counting() { counted_ = at_, lines_ = 1; }

 private:
  static bool word(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '$' || c == '%'; }
  void skip() {
    for (;;) {
      while (at_ < text_.size() && std::isspace(static_cast<unsigned char>(text_[at_]))) ++at_;
      if (text_.compare(at_, 2, "//") == 0) {
        at_ = text_.find('\n', at_);
      } else if (text_.compare(at_, 2, "/*") == 0) {
        at_ = text_.find("*/", at_) + 2;
      } else {
        return;
      }
      if (at_ > text_.size()) at_ = text_.size();
    }
  }
  void scan() {
    seen_ = at_;
    size_t end = at_;
    if (end < text_.size() &&
        (word(text_[end]) || (text_[end] == '.' && end + 1 < text_.size() && word(text_[end + 1])))) {
      // An identifier or a directive, with modifiers such as .shared::cta. The colon after a label is a
      // separate token.
      ++end;
      while (end < text_.size() && (word(text_[end]) || text_[end] == '.' || text_.compare(end, 2, "::") == 0))
        end += text_[end] == ':' ? 2 : 1;
    } else if (end < text_.size() && text_[end] == '"') {
      end = text_.find('"', end + 1) + 1;
    } else if (end < text_.size()) {
      ++end;
    }
    token_ = text_.substr(at_, end - at_);
    after_ = end;
  }

  const std::string& text_;
  size_t at_, after_ = 0, seen_ = SIZE_MAX, counted_ = 0;
  int lines_ = 1;
  std::string token_;
};

}  // namespace simulator
