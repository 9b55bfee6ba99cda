#include "runtime/error.h"
#include "tokenizer/trainer.h"
#include "tokenizer/vocab.h"

namespace heddle {
namespace {

std::vector<AddedToken> to_added(const std::vector<std::string>& special_tokens) {
  std::vector<AddedToken> tokens;
  for (const std::string& content : special_tokens) {
    AddedToken token;
    token.content = content;
    token.special = true;
    tokens.push_back(std::move(token));
  }
  return tokens;
}

}  // namespace

WordCounts::WordCounts(std::vector<SplitStage> stages, const std::vector<std::string>& special_tokens)
    : splitter_(std::move(stages)), specials_(to_added(special_tokens)), slots_(1 << 16, UINT32_MAX) {}

void WordCounts::add_text(std::string_view text, const std::atomic<bool>& cancelled) {
  segments_.clear();
  specials_.split(text, 0, text.size(), true, {}, segments_);
  uint32_t since_check = 0;
  for (const Segment& segment : segments_) {
    if (segment.id != no_token) continue;
    splitter_.run(text.data() + segment.begin, text.data() + segment.end, [&](const char* begin, const char* end) {
      add_word(begin, static_cast<size_t>(end - begin));
      if ((++since_check & 1023) == 0 && cancelled.load(std::memory_order_relaxed)) {
        throw Error("ABORTED", "Tokenizer.train: aborted");
      }
    });
  }
}

void WordCounts::add_word(const char* word, size_t length) {
  const size_t mask = slots_.size() - 1;
  size_t slot = hash_bytes(word, length) & mask;
  for (; slots_[slot] != UINT32_MAX; slot = (slot + 1) & mask) {
    Word& known = words_[slots_[slot]];
    if (std::string_view(bytes_.data() + known.begin, known.length) == std::string_view(word, length)) {
      ++known.count;
      return;
    }
  }
  // Positions in the words are 32-bit numbers in train_bpe.
  if (bytes_.size() + length >= UINT32_MAX) {
    throw Error("UNSUPPORTED", "Tokenizer.train: expected less than 4 GiB of distinct words, got more");
  }
  slots_[slot] = static_cast<uint32_t>(words_.size());
  words_.push_back({bytes_.size(), static_cast<uint32_t>(length), 1});
  bytes_.append(word, length);
  if (2 * words_.size() > slots_.size()) grow();
}

void WordCounts::grow() {
  slots_.assign(2 * slots_.size(), UINT32_MAX);
  const size_t mask = slots_.size() - 1;
  for (uint32_t i = 0; i < words_.size(); ++i) {
    size_t slot = hash_bytes(bytes_.data() + words_[i].begin, words_[i].length) & mask;
    while (slots_[slot] != UINT32_MAX) slot = (slot + 1) & mask;
    slots_[slot] = i;
  }
}

}  // namespace heddle
