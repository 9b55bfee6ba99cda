// A table of texts by id. Stores only texts that differ from the bytes of the vocabulary's token.
#pragma once
#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/vocabulary/vocab.h"

namespace heddle {

class TextTable {
 public:
  // Keeps a reference to the vocabulary, whose tokens must be added before set() is called for their ids.
  explicit TextTable(const Vocab& vocab) : vocab_(vocab) {}

  // Throws INVALID_FILE beyond 2 GiB of text.
  void set(uint32_t id, std::string_view text);

  bool has(uint32_t id) const { return find(id) != nullptr || vocab_.has(id); }
  std::string_view bytes(uint32_t id) const {  // empty for an absent id
    const Text* text = find(id);
    return text != nullptr ? std::string_view(arena_.data() + text->begin, text->length) : vocab_.bytes(id);
  }
  uint32_t size() const { return std::max(size_, vocab_.size()); }  // highest id + 1

 private:
  static constexpr uint32_t absent = UINT32_MAX;
  struct Text {
    uint32_t begin = absent, length = 0;
  };
  static constexpr uint32_t page_ids = 32;
  using Page = std::array<Text, page_ids>;
  const Text* find(uint32_t id) const {
    const size_t page = id / page_ids;
    if (page >= pages_.size() || pages_[page] == nullptr) return nullptr;
    const Text& text = (*pages_[page])[id % page_ids];
    return text.begin == absent ? nullptr : &text;
  }

  const Vocab& vocab_;
  std::string arena_;
  std::vector<std::unique_ptr<Page>> pages_;  // null: all texts of the page equal the tokens' bytes
  uint32_t size_ = 0;
};

}  // namespace heddle
