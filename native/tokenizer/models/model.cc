#include "tokenizer/models/model.h"

#include <algorithm>

namespace heddle {

TokenTexts::TokenTexts(const TextTable& table) : table_(table), texts_(table.size()) {
  for (uint32_t id = 0; id < table.size(); ++id) {
    const std::string_view text = table.bytes(id);
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
  std::call_once(texts_once_, [this] { texts_ = std::make_unique<const TokenTexts>(texts); });
  return *texts_;
}

const TokenEnds& TokenizerModel::token_ends() const {
  std::call_once(ends_once_, [this] { ends_ = std::make_unique<const TokenEnds>(trie); });
  return *ends_;
}

const ContinuingTokens& TokenizerModel::continuing_tokens() const {
  std::call_once(continuing_once_, [this] {
    auto made = std::make_unique<ContinuingTokens>();
    std::vector<std::string_view> contents;
    for (uint32_t id = 0; continuing != Trie::none && id < vocab.size(); ++id) {
      const std::string_view token = vocab.bytes(id);
      if (token.size() <= subword_prefix.size() || token.substr(0, subword_prefix.size()) != subword_prefix) continue;
      const uint32_t node = trie.find(token);
      if (node == Trie::none || trie.value(node) != id) continue;  // no text matches it
      contents.push_back(token.substr(subword_prefix.size()));
      made->ids.push_back(id);
      made->lengths.push_back(static_cast<uint32_t>(contents.back().size()));
    }
    made->starts = std::make_unique<const LongestStarts>(contents);
    continuing_ = std::move(made);
  });
  return *continuing_;
}

}  // namespace heddle
