#include "tokenizer/vocabulary/json_reader.h"

#include <charconv>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <string>
#include <system_error>

#include "core/platform/number_text.h"
#include "tokenizer/text/utf.h"

namespace heddle {
namespace {

#if defined(__cpp_lib_to_chars) && __cpp_lib_to_chars >= 201611L
bool parse_double(const char* begin, const char* end, double& out) {
  const auto [stop, error] = std::from_chars(begin, end, out);
  return error == std::errc() && stop == end;
}
#else  // a standard library whose from_chars does not read doubles
bool parse_double(const char* begin, const char* end, double& out) {
  const std::string text(begin, end);
  char* stop = nullptr;
  out = parse_number(text.c_str(), &stop);
  return stop == text.c_str() + text.size() && std::isfinite(out);
}
#endif

char* put_code(uint32_t code, char* to) {
  if (code < 0x80) {
    *to++ = static_cast<char>(code);
    return to;
  }
  if (code < 0x800) {
    *to++ = static_cast<char>(0xC0 | code >> 6);
  } else {
    if (code < 0x10000) {
      *to++ = static_cast<char>(0xE0 | code >> 12);
    } else {
      *to++ = static_cast<char>(0xF0 | code >> 18);
      *to++ = static_cast<char>(0x80 | (code >> 12 & 0x3F));
    }
    *to++ = static_cast<char>(0x80 | (code >> 6 & 0x3F));
  }
  *to++ = static_cast<char>(0x80 | (code & 0x3F));
  return to;
}

}  // namespace

// Copies sixteen bytes at a time up to the first special byte: a quote, a backslash, a control character, or non-ASCII.
bool JsonReader::any_string(TextBuffer& out) {
  if (!take('"')) return false;
  size_t done = 0;  // bytes written to the room so far
  for (;;) {
    // An iteration writes at most one block and one character.
    char* const begin = out.room(done + 2 * AsciiBlock::size);
    char* to = begin + done;
    if (end_ - at_ >= AsciiBlock::size) {
      const AsciiBlock block(at_);
      std::memcpy(to, at_, AsciiBlock::size);
      const uint32_t stops = stops_of(block);
      const int plain = stops != 0 ? lowest_bit(stops) : AsciiBlock::size;
      at_ += plain;
      to += plain;
      if (stops == 0) {
        done = static_cast<size_t>(to - begin);
        continue;
      }
    }
    if (at_ == end_) return false;
    const auto c = static_cast<uint8_t>(*at_);
    if (c == '"') {
      ++at_;
      out.took(static_cast<size_t>(to - begin));
      return true;
    }
    if (c < 0x20) return false;
    if (c == '\\') {
      to = escape(to);
      // Two-byte characters are frequent, because byte-level tokens are written in the byte alphabet.
    } else if (c >= 0xC2 && c < 0xE0 && left() >= 2 && (at_[1] & 0xC0) == 0x80) {
      std::memcpy(to, at_, 2);
      at_ += 2;
      to += 2;
    } else if (c >= 0x80) {
      to = character(to);
    } else {
      *to++ = *at_++;
    }
    if (to == nullptr) return false;
    done = static_cast<size_t>(to - begin);
  }
}

bool JsonReader::number(uint32_t& out) {
  skip_space();
  const char* begin = at_;
  uint64_t value = 0;
  while (at_ < end_ && *at_ >= '0' && *at_ <= '9' && at_ - begin < 9)
    value = 10 * value + static_cast<uint64_t>(*at_++ - '0');
  if (at_ == begin || (*begin == '0' && at_ - begin > 1)) return false;
  if (at_ == end_ || (*at_ >= '0' && *at_ <= '9') || *at_ == '.' || *at_ == 'e' || *at_ == 'E') return false;
  out = static_cast<uint32_t>(value);
  return true;
}

bool JsonReader::real(double& out) {
  skip_space();
  const char* const begin = at_;
  const auto digits = [&] {
    const char* const first = at_;
    while (at_ < end_ && *at_ >= '0' && *at_ <= '9') ++at_;
    return at_ - first;
  };
  if (at_ < end_ && *at_ == '-') ++at_;
  const bool zero = at_ < end_ && *at_ == '0';
  const auto whole = digits();
  if (whole == 0 || (zero && whole > 1)) return false;
  if (at_ < end_ && *at_ == '.' && (++at_, digits() == 0)) return false;
  if (at_ < end_ && (*at_ == 'e' || *at_ == 'E')) {
    ++at_;
    if (at_ < end_ && (*at_ == '+' || *at_ == '-')) ++at_;
    if (digits() == 0) return false;
  }
  return at_ - begin <= 64 && parse_double(begin, at_, out);
}

bool JsonReader::skip_value(int max_depth) {
  skip_space();
  int depth = 0;
  do {
    skip_space();
    if (at_ == end_) return false;
    if (*at_ == '"') {
      if (!skip_string()) return false;
    } else {
      if (*at_ == '{' || *at_ == '[') ++depth;
      skipped_values_ += *at_ == '{' || *at_ == '[' || *at_ == ',' || *at_ == ':';
      if (*at_ == '}' || *at_ == ']') --depth;
      if (depth < 0 || depth > max_depth) return false;
      ++at_;
    }
  } while (depth > 0 || (at_ < end_ && !std::strchr(",}] \n\r\t", *at_)));
  return true;
}

bool JsonReader::skip_string() {
  for (++at_; at_ < end_; ++at_) {
    if (*at_ == '"') {
      ++at_;
      return true;
    }
    if (*at_ == '\\' && ++at_ == end_) return false;
  }
  return false;
}

char* JsonReader::character(char* to) {
  int skip = 0;
  const int size = utf::character_length(at_, left(), skip);
  if (size == 0) return nullptr;
  for (int i = 0; i < size; ++i) *to++ = *at_++;
  return to;
}

bool JsonReader::hex(uint32_t& out) {
  if (end_ - at_ < 4) return false;
  out = 0;
  for (int i = 0; i < 4; ++i) {
    const char c = *at_++;
    const int digit = c >= '0' && c <= '9'   ? c - '0'
                      : c >= 'a' && c <= 'f' ? c - 'a' + 10
                      : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                             : -1;
    if (digit < 0) return false;
    out = out << 4 | static_cast<uint32_t>(digit);
  }
  return true;
}

char* JsonReader::escape(char* to) {
  if (end_ - at_ < 2) return nullptr;
  ++at_;
  const char c = *at_++;
  if (c == 'u') {
    uint32_t unit = 0;
    if (!hex(unit) || (unit & 0xFC00) == 0xDC00) return nullptr;
    if ((unit & 0xFC00) != 0xD800) return put_code(unit, to);
    uint32_t second = 0;
    if (end_ - at_ < 2 || at_[0] != '\\' || at_[1] != 'u') return nullptr;
    at_ += 2;
    if (!hex(second) || (second & 0xFC00) != 0xDC00) return nullptr;
    return put_code(0x10000 + ((unit & 0x3FF) << 10) + (second & 0x3FF), to);
  }
  static const char from[] = "\"\\/bfnrt";
  static const char into[] = "\"\\/\b\f\n\r\t";
  const char* found = std::strchr(from, c);
  if (c == '\0' || found == nullptr) return nullptr;
  *to++ = into[found - from];
  return to;
}

}  // namespace heddle
