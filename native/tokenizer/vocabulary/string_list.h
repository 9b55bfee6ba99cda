// Strings of a file, stored back to back without a JavaScript object per string.
#pragma once
#include <cstdint>
#include <cstring>
#include <string_view>

#include "tokenizer/buffers.h"

namespace heddle {

class StringList {
 public:
  // Adds strings in GGUF's layout: eight bytes of length, then the bytes, which may be malformed. Stops after `most`
  // strings, or before a string that is not completely in `block`. Returns the number of bytes consumed.
  size_t read(std::string_view block, size_t most);
  void add(std::string_view bytes);

  size_t size() const { return count_; }
  size_t text_bytes() const { return block_.size() - count_ * length_bytes; }

  // Calls visit(bytes) for each string. The caller must replace malformed UTF-8.
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
    std::memcpy(&length, block.data() + at, length_bytes);  // little-endian, like all machines that heddle supports
    return length;
  }

  TextBuffer block_;  // in GGUF's layout
  size_t count_ = 0;
};

}  // namespace heddle
