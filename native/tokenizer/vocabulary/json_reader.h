// Reads the JSON values that vocabularies consist of: strings and numbers. Skips all other values.
#pragma once
#include <cstdint>
#include <cstring>
#include <string_view>

#include "tokenizer/text/ascii_block.h"
#include "tokenizer/buffers.h"

namespace heddle {

// Reading functions return false if the text does not match what they read.
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

  // Appends a string as UTF-8. Returns false for lone surrogates and malformed bytes.
  bool string(TextBuffer& out) {
    // Most strings are ASCII without escapes and fit in one block.
    if (end_ - at_ > AsciiBlock::size && *at_ == '"') {
      const AsciiBlock block(at_ + 1);
      const uint32_t stops = stops_of(block);
      const int plain = stops != 0 ? lowest_bit(stops) : AsciiBlock::size;
      if (stops != 0 && at_[1 + plain] == '"') {
        std::memcpy(out.room(AsciiBlock::size), at_ + 1, AsciiBlock::size);
        out.took(static_cast<size_t>(plain));
        at_ += plain + 2;
        return true;
      }
    }
    return any_string(out);
  }
  // Reads an integer in [0, 10^9).
  bool number(uint32_t& out);
  // Reads any number within the range of a double, rounded to nearest.
  bool real(double& out);
  // Skips any value. Does not validate its content. Returns false for objects and arrays nested deeper than
  // `max_depth`.
  bool skip_value(int max_depth);
  size_t skipped_values() const { return skipped_values_; }  // including keys

 private:
  static uint32_t stops_of(const AsciiBlock& block) {
    return block.equal('"') | block.equal('\\') | block.high() | block.controls();
  }
  bool any_string(TextBuffer& out);
  bool skip_string();
  char* character(char* to);  // null if malformed
  char* escape(char* to);
  bool hex(uint32_t& out);

  const char* at_;
  const char* end_;
  size_t skipped_values_ = 0;
};

}  // namespace heddle
