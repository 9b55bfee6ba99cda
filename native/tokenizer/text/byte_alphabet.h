// GPT-2's printable alphabet maps each byte to one character, so that vocabularies of bytes can be written as text.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "tokenizer/buffers.h"

namespace heddle {

// U+0021..7E, U+00A1..AC and U+00AE..FF map to themselves. The other 68 bytes map, in order, to U+0100..U+0143.
constexpr bool is_printable_byte(uint32_t code) {
  return (code >= 0x21 && code <= 0x7E) || (code >= 0xA1 && code <= 0xAC) || (code >= 0xAE && code <= 0xFF);
}

class ByteAlphabet {
 public:
  ByteAlphabet() {
    for (auto& value : byte_of_) value = -1;
    uint32_t other = 0x100;
    for (uint32_t byte = 0; byte < 256; ++byte) {
      const uint32_t code = is_printable_byte(byte) ? byte : other++;
      byte_of_[code] = static_cast<int16_t>(byte);
      character_of_[byte] = code;
    }
  }

  uint32_t character(uint8_t byte) const { return character_of_[byte]; }

  int byte(uint32_t character) const { return character < alphabet_end ? byte_of_[character] : -1; }

  // Writes the bytes that the UTF-8 `text` represents, at most as many bytes as `text` has, and returns their end.
  // Returns null for a character outside the alphabet.
  char* to_bytes(std::string_view text, char* out) const {
    for (size_t i = 0; i < text.size(); ++i) {
      auto code = static_cast<uint32_t>(static_cast<uint8_t>(text[i]));
      if (code >= 0x80) {  // the alphabet has no character of more than two bytes
        if ((code & 0xE0) != 0xC0 || i + 1 == text.size()) return nullptr;
        code = (code & 0x1F) << 6 | (static_cast<uint8_t>(text[++i]) & 0x3Fu);
      }
      const int found = byte(code);
      if (found < 0) return nullptr;
      *out++ = static_cast<char>(found);
    }
    return out;
  }

  // Appends the bytes that `text` represents. Returns false and leaves `out` unchanged for a character outside the
  // alphabet.
  bool to_bytes(std::string_view text, TextBuffer& out) const {
    char* const begin = out.room(text.size());
    const char* const end = to_bytes(text, begin);
    if (end == nullptr) return false;
    out.took(static_cast<size_t>(end - begin));
    return true;
  }
  bool to_bytes(std::string_view text, std::string& out) const {
    const size_t before = out.size();
    out.resize(before + text.size());
    const char* const end = to_bytes(text, &out[before]);
    out.resize(end == nullptr ? before : static_cast<size_t>(end - out.data()));
    return end != nullptr;
  }

 private:
  static constexpr uint32_t alphabet_end = 0x144;
  int16_t byte_of_[alphabet_end];
  uint32_t character_of_[256];
};

}  // namespace heddle
