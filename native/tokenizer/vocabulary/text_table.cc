#include "tokenizer/vocabulary/text_table.h"

#include "core/error.h"

namespace heddle {

void TextTable::set(uint32_t id, std::string_view text) {
  size_ = std::max(size_, id + 1);
  if (find(id) == nullptr && vocab_.has(id) && vocab_.bytes(id) == text) return;
  if (text.size() >= (size_t{1} << 31) - arena_.size()) throw invalid_file("vocab: expected less than 2 GiB of text");
  const size_t page = id / page_ids;
  if (page >= pages_.size()) pages_.resize(page + 1);
  if (pages_[page] == nullptr) pages_[page] = std::make_unique<Page>();
  (*pages_[page])[id % page_ids] = {static_cast<uint32_t>(arena_.size()), static_cast<uint32_t>(text.size())};
  arena_.append(text);
}

}  // namespace heddle
