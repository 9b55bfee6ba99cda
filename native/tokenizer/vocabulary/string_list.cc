#include "tokenizer/vocabulary/string_list.h"

namespace heddle {

size_t StringList::read(std::string_view block, size_t most) {
  size_t at = 0;
  for (; most > 0 && block.size() - at >= length_bytes; --most, ++count_) {
    const uint64_t length = length_at(block, at);
    if (length > block.size() - at - length_bytes) break;
    at += length_bytes + length;
  }
  block_.append(block.substr(0, at));
  return at;
}

void StringList::add(std::string_view bytes) {
  const uint64_t length = bytes.size();
  block_.append({reinterpret_cast<const char*>(&length), length_bytes});
  block_.append(bytes);
  ++count_;
}

}  // namespace heddle
