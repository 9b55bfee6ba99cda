#include "tokenizer/model.h"

#include <algorithm>

namespace heddle {

TokenTexts::TokenTexts(const Vocab& vocab) : vocab_(vocab), texts_(vocab.size()) {
  for (uint32_t id = 0; id < vocab.size(); ++id) {
    const std::string_view text = vocab.bytes(id);
    Text& to = texts_[id];
    to.length = static_cast<uint8_t>(std::min(text.size(), most + 1));
    if (text.size() <= most) std::copy(text.begin(), text.end(), to.bytes);
  }
}

uint64_t TokenizerModel::next_number() {
  static std::atomic<uint64_t> next{1};
  return next++;
}

const TokenTexts& TokenizerModel::token_texts() const {
  std::call_once(texts_once_, [this] { texts_ = std::make_unique<const TokenTexts>(text()); });
  return *texts_;
}

}  // namespace heddle
