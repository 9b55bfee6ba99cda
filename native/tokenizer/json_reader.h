// JSON as far as vocabularies need it: strings and whole numbers at full speed, the rest skipped.
#pragma once
#include <cstdint>
#include <string_view>

#include "tokenizer/buffers.h"

namespace heddle {

// Every function returns false where the text is not what it reads.
class JsonReader {
 public:
  explicit JsonReader(std::string_view json) : at_(json.data()), end_(json.data() + json.size()) {}

  const char* place() const { return at_; }
  size_t left() const { return static_cast<size_t>(end_ - at_); }
  void skip_space() {
    while (at_ < end_ && (*at_ == ' ' || *at_ == '\n' || *at_ == '\r' || *at_ == '\t')) ++at_;
  }
  bool take(char c) {
    if (at_ < end_ && *at_ == c) return ++at_, true;
    skip_space();
    if (at_ == end_ || *at_ != c) return false;
    ++at_;
    return true;
  }
  bool is_next(char c) {
    skip_space();
    return at_ < end_ && *at_ == c;
  }

  // Appends a string as UTF-8. No lone surrogates, no malformed bytes.
  bool string(TextBuffer& out);
  // One below 10^9.
  bool number(uint32_t& out);
  // Any value; what is wrong inside it does not show.
  bool skip_value();

 private:
  bool skip_string();
  char* character(char* to);  // null where it is malformed
  char* escape(char* to);
  bool hex(uint32_t& out);

  const char* at_;
  const char* end_;
};

}  // namespace heddle
