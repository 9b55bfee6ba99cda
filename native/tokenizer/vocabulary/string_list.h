// Strings of a file, one after the other, without an object of JavaScript for each.
#pragma once
#include <cstdint>
#include <cstring>
#include <string_view>

#include "tokenizer/buffers.h"

namespace heddle {

class StringList {
 public:
  // Adds strings as GGUF has them: eight bytes of length, then the bytes, whatever these are. Stops after `most`, and
  // before one that `block` does not hold in full. Returns how many bytes it took.
  size_t read(std::string_view block, size_t most);
  void add(std::string_view bytes);

  size_t size() const { return count_; }
  size_t text_bytes() const { return block_.size() - count_ * length_bytes; }

  // Calls visit(bytes) for each. Malformed UTF-8 is the caller's to replace.
  template <class F> void for_each(F&& visit) const {
    const std::string_view block = block_.view();
    for (size_t at = 0; at < block.size();) {
      const uint64_t length = length_at(block, at);
      at += length_bytes;
      visit(block.substr(at, length));
      at += length;
    }
  }

 private:
  static constexpr size_t length_bytes = 8;
  static uint64_t length_at(std::string_view block, size_t at) {
    uint64_t length;
    std::memcpy(&length, block.data() + at, length_bytes);  // little-endian, as all machines that heddle runs on
    return length;
  }

  TextBuffer block_;  // as in the file
  size_t count_ = 0;
};

}  // namespace heddle
