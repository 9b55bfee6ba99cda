// Conversions between UTF-16 (the input) and UTF-8 (the internal form), and between offsets in the two.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace heddle::utf {

// Writes the UTF-8 of `in` to `out`, which must have room for three bytes per unit. Returns the number of bytes. A lone
// surrogate becomes U+FFFD, as in String.prototype.toWellFormed.
size_t to_utf8(const char16_t* in, size_t length, char* out);

// Appends the UTF-8 of `in` to `out`.
void append_utf8(const char16_t* in, size_t length, std::string& out);

// Returns the number of leading ASCII bytes.
size_t ascii_length(std::string_view bytes);

// Writes the UTF-16 of well-formed UTF-8 to `out`, which must have room for one unit per byte. Returns the number of
// units.
size_t to_utf16(std::string_view bytes, char16_t* out);

// Appends one code point, which must not be a surrogate.
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

// Decodes one code point of well-formed UTF-8. `size` receives its length in bytes.
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

// Returns the length of a character of well-formed UTF-8 from its first byte.
inline int sequence_length(char lead) {
  const auto b = static_cast<uint8_t>(lead);
  return b < 0x80 ? 1 : b < 0xE0 ? 2 : b < 0xF0 ? 3 : 4;
}

// Returns the start of the character that ends just before p. At least one character of well-formed UTF-8 must precede
// p.
inline const char* previous(const char* p) {
  do {
    --p;
  } while ((static_cast<uint8_t>(*p) & 0xC0) == 0x80);
  return p;
}

// Maps byte positions in well-formed UTF-8 to the start and end of their character, in UTF-16 units or in bytes. For
// ASCII it is the identity.
class OffsetMap {
 public:
  OffsetMap(std::string_view text, bool in_bytes);
  // Returns the start of the byte's character. For the position after the last byte, returns the text's length.
  uint32_t start(size_t byte) const { return start_.empty() ? static_cast<uint32_t>(byte) : start_[byte]; }
  // Returns the end of the byte's character.
  uint32_t end(size_t byte) const {
    if (start_.empty()) return static_cast<uint32_t>(byte + 1);
    size_t next = byte + 1;
    while (start_[next] == start_[byte]) ++next;
    return start_[next];
  }

 private:
  std::vector<uint32_t> start_;  // (bytes + 1), or empty for ASCII
};

// Returns the length of the character at `bytes`, or 0 if it is malformed. If so, `skip` receives the number of bytes
// that one U+FFFD replaces, by Unicode's maximal subpart rule, as in Rust and WHATWG.
int character_length(const char* bytes, size_t length, int& skip);

bool is_well_formed(std::string_view bytes);

// Returns the length of well-formed UTF-8 in UTF-16 units.
size_t utf16_length(std::string_view bytes);

// Appends `bytes` with each malformed part replaced by U+FFFD.
void append_lossy(std::string_view bytes, std::string& out);

// Returns the length (0 to 3) of an incomplete character at the end of `bytes`.
size_t incomplete_tail(std::string_view bytes);

}  // namespace heddle::utf
