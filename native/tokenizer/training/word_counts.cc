#include "tokenizer/training/word_counts.h"

#include <algorithm>

#include "core/error.h"
#include "tokenizer/hash_bytes.h"
#include "tokenizer/regex/regex.h"
#include "tokenizer/split/split_run.h"
#include "tokenizer/vocabulary/vocab.h"

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

WordRule::WordRule(std::vector<SplitStage> stages, const std::vector<std::string>& special_tokens)
    : splitter(std::move(stages)), specials(to_added(special_tokens)) {}

WordRule::WordRule(Normalizer normalizer, PreTokenizer pre_tokenizer, const std::vector<std::string>& special_tokens)
    : general(true), splitter(std::vector<SplitStage>()), normalizer(std::move(normalizer)),
      pre_tokenizer(std::move(pre_tokenizer)), specials(to_added(special_tokens)) {
  for (const auto& step : this->pre_tokenizer) needs_origins = needs_origins || step->needs_origins();
}

void WordCounts::add_text(std::string_view text, const Cancellation& cancellation) {
  const WordRule& rule = *rule_;
  segments_.clear();
  rule.specials.split(text, 0, text.size(), true, {}, segments_);
  RegexBudget budget(text.size());
  uint32_t since_check = 0;
  const auto check = [&] {
    if ((++since_check & 1023) == 0) cancellation.check();
  };
  cancellation.check();  // a short text reaches none of the checks below
  for (const TextSegment& segment : segments_) {
    if (segment.id != no_token) continue;
    if (!rule.general) {
      rule.splitter.run(
          text.data() + segment.begin, text.data() + segment.end, [&](const char* begin, const char* end) {
        add_word(begin, static_cast<size_t>(end - begin));
        check();
      });
      continue;
    }
    add_general(text, segment, budget, cancellation);
  }
}

// Counts the words of a segment with the rule's normalizer and pre-tokenizer. Throws ABORTED once cancellation is
// requested.
void WordCounts::add_general(
    std::string_view text, const TextSegment& segment, RegexBudget& budget, const Cancellation& cancellation) {
  Pieces pieces;
  pieces.text.regex_budget = &budget;
  pieces.text.cancellation = cancellation;
  pieces.text.assign(text.substr(segment.begin, segment.end - segment.begin), segment.begin, rule_->needs_origins);
  for (const auto& step : rule_->normalizer) {
    step->run(pieces.text);
    cancellation.check();
  }
  if (pieces.text.text.empty()) return;
  pieces.pieces.assign(1, {0, pieces.text.text.size()});
  for (const auto& step : rule_->pre_tokenizer) {
    step->run(pieces);
    cancellation.check();
  }
  uint32_t count = 0;
  for (const Pieces::Piece& piece : pieces.pieces) {
    if (piece.end > piece.begin) add_word(pieces.text.text.data() + piece.begin, piece.end - piece.begin);
    if ((++count & 1023) == 0) cancellation.check();
  }
}

void WordCounts::add(const WordCounts& other) {
  for (const Word& word : other.words_) add_word(other.bytes_.data() + word.begin, word.length, word.count);
}

void WordCounts::sort() {
  std::sort(words_.begin(), words_.end(), [this](const Word& a, const Word& b) { return text(a) < text(b); });
  rehash(slots_.size());
}

void WordCounts::add_word(const char* word, size_t length, uint64_t count) {
  const size_t mask = slots_.size() - 1;
  size_t slot = hash_bytes({word, length}) & mask;
  for (; slots_[slot] != UINT32_MAX; slot = (slot + 1) & mask) {
    Word& known = words_[slots_[slot]];
    if (text(known) == std::string_view(word, length)) {
      known.count += count;
      return;
    }
  }
  // The trainers store positions as 32-bit numbers.
  if (bytes_.size() + length >= UINT32_MAX) {
    throw Error("UNSUPPORTED", "Tokenizer.train: expected less than 4 GiB of distinct words, got more");
  }
  slots_[slot] = static_cast<uint32_t>(words_.size());
  words_.push_back({bytes_.size(), static_cast<uint32_t>(length), count});
  bytes_.append(word, length);
  if (2 * words_.size() > slots_.size()) rehash(2 * slots_.size());
}

void WordCounts::rehash(size_t capacity) {
  slots_.assign(capacity, UINT32_MAX);
  const size_t mask = slots_.size() - 1;
  for (uint32_t i = 0; i < words_.size(); ++i) {
    size_t slot = hash_bytes({bytes_.data() + words_[i].begin, words_[i].length}) & mask;
    while (slots_[slot] != UINT32_MAX) slot = (slot + 1) & mask;
    slots_[slot] = i;
  }
}

}  // namespace heddle
