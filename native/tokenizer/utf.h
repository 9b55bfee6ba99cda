// UTF-16 in, UTF-8 inside, and the two ways text and offsets come back.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace heddle::utf {

// Appends the UTF-8 of `in` to `out`. A lone surrogate becomes U+FFFD, as in String.prototype.toWellFormed.
void append_utf8(const char16_t* in, size_t length, std::string& out);

// Appends one code point, which is no surrogate.
inline void append_code(uint32_t code, std::string& out) {
  if (code < 0x80) {
    out += static_cast<char>(code);
  } else if (code < 0x800) {
    out += static_cast<char>(0xC0 | code >> 6);
    out += static_cast<char>(0x80 | (code & 0x3F));
  } else {
    if (code < 0x10000) {
      out += static_cast<char>(0xE0 | code >> 12);
    } else {
      out += static_cast<char>(0xF0 | code >> 18);
      out += static_cast<char>(0x80 | (code >> 12 & 0x3F));
    }
    out += static_cast<char>(0x80 | (code >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (code & 0x3F));
  }
}

// One code point of well-formed UTF-8; `size` receives its length in bytes.
inline uint32_t decode(const char* p, int& size) {
  const auto* b = reinterpret_cast<const uint8_t*>(p);
  if (b[0] < 0x80) {
    size = 1;
    return b[0];
  }
  if (b[0] < 0xE0) {
    size = 2;
    return (b[0] & 0x1Fu) << 6 | (b[1] & 0x3Fu);
  }
  if (b[0] < 0xF0) {
    size = 3;
    return (b[0] & 0x0Fu) << 12 | (b[1] & 0x3Fu) << 6 | (b[2] & 0x3Fu);
  }
  size = 4;
  return (b[0] & 0x07u) << 18 | (b[1] & 0x3Fu) << 12 | (b[2] & 0x3Fu) << 6 | (b[3] & 0x3Fu);
}

inline int sequence_length(char lead) {
  const auto b = static_cast<uint8_t>(lead);
  return b < 0x80 ? 1 : b < 0xE0 ? 2 : b < 0xF0 ? 3 : 4;
}

// Start of the character that ends just before p (p is inside well-formed UTF-8, past its first byte).
inline const char* previous(const char* p) {
  do {
    --p;
  } while ((static_cast<uint8_t>(*p) & 0xC0) == 0x80);
  return p;
}

// For every byte of well-formed UTF-8: the UTF-16 offsets at which its character starts and ends.
struct Utf16Map {
  std::vector<uint32_t> start;  // (bytes + 1); the last is the length of the text
  std::vector<uint32_t> end;    // (bytes)
};
Utf16Map utf16_map(std::string_view text);
// The same in bytes.
Utf16Map byte_map(std::string_view text);

// Length of the longest well-formed prefix of `bytes` that is one character, or 0; `skip` receives how many bytes one
// U+FFFD stands for when it is 0 (the maximal subpart rule of Unicode, which Rust and WHATWG follow).
int character_length(const char* bytes, size_t length, int& skip);

bool is_well_formed(std::string_view bytes);

// Appends `bytes` as UTF-8 text, each malformed part replaced by U+FFFD.
void append_lossy(std::string_view bytes, std::string& out);

// Number of bytes at the end that may still become a character when more bytes follow (0 to 3).
size_t incomplete_tail(std::string_view bytes);

}  // namespace heddle::utf
