#include "tokenizer/vocabulary/added_tokens.h"

#include <algorithm>
#include <cstring>

#include "core/error.h"
#include "tokenizer/text/ascii_block.h"
#include "tokenizer/text/unicode.h"
#include "tokenizer/text/utf.h"
#include "tokenizer/vocabulary/vocab.h"

namespace heddle {
namespace {

bool has_flag(const char* p, uint8_t flag) {
  int size = 0;
  const uint32_t code = utf::decode(p, size);
  return unicode::flags_of(unicode::flag_table(), code) & flag;
}

}  // namespace

AddedTokenMatcher::AddedTokenMatcher(std::vector<AddedToken> tokens) : tokens_(std::move(tokens)) {
  nodes_.emplace_back();
  for (uint32_t index = 0; index < tokens_.size(); ++index) {
    const std::string& content = tokens_[index].content;
    if (content.empty()) throw invalid_file("added_tokens: expected text, got an empty token");
    uint32_t node = 0;
    for (const char c : content) {
      const auto byte = static_cast<uint8_t>(c);
      auto& children = nodes_[node].children;
      const auto at = std::lower_bound(
          children.begin(), children.end(), byte, [](const auto& entry, uint8_t value) { return entry.first < value; });
      if (at != children.end() && at->first == byte) {
        node = at->second;
        continue;
      }
      const auto created = static_cast<uint32_t>(nodes_.size());
      children.insert(at, {byte, created});
      nodes_.emplace_back();  // invalidates `children`
      node = created;
    }
    if (nodes_[node].token == UINT32_MAX) nodes_[node].token = index;
    bool& starts = starts_[static_cast<uint8_t>(content[0])];
    if (!starts && start_count_++ < few_starts) start_bytes_[start_count_ - 1] = content[0];
    starts = true;
  }
}

const AddedTokenMatcher::Node* AddedTokenMatcher::child(const Node& node, uint8_t byte) const {
  const auto at = std::lower_bound(node.children.begin(), node.children.end(), byte,
      [](const auto& entry, uint8_t value) { return entry.first < value; });
  return at != node.children.end() && at->first == byte ? &nodes_[at->second] : nullptr;
}

const LongestStarts& AddedTokenMatcher::starts() const {
  std::call_once(automaton_->once, [this] {
    std::vector<std::string_view> contents;
    for (const AddedToken& token : tokens_) contents.push_back(token.content);
    automaton_->made = std::make_unique<const LongestStarts>(contents);
  });
  return *automaton_->made;
}

// Returns the first byte from i on that a token may begin with, or the end.
size_t AddedTokenMatcher::next_start(std::string_view text, size_t i, size_t end) const {
  if (start_count_ <= few_starts) {
    for (; end - i >= AsciiBlock::size; i += AsciiBlock::size) {
      const AsciiBlock block(text.data() + i);
      uint32_t found = 0;
      for (size_t k = 0; k < start_count_; ++k) found |= block.equal(start_bytes_[k]);
      if (found != 0) return i + static_cast<size_t>(lowest_bit(found));
    }
  }
  while (i < end && !starts_[static_cast<uint8_t>(text[i])]) ++i;
  return i;
}

void AddedTokenMatcher::split(std::string_view text, size_t begin, size_t end, const AllowedSpecials& allowed,
    const std::vector<size_t>& barriers, std::vector<TextSegment>& out) const {
  size_t start = begin;  // start of the text that has not been emitted
  auto barrier = std::lower_bound(barriers.begin(), barriers.end(), begin);
  size_t i = begin;
  size_t steps = 0;
  std::vector<uint32_t> longest;  // matches from `known` on, if the trie walks took too many steps
  size_t known = end;
  while (i < end && !tokens_.empty()) {
    if (!starts_[static_cast<uint8_t>(text[i])]) {
      i = next_start(text, i + 1, end);
      continue;
    }
    if (longest.empty() && steps > free_steps + steps_per_byte * (i - begin)) {
      known = i;
      starts().find(text.substr(i, end - i), longest);
    }
    const AddedToken* found = nullptr;
    size_t found_end = 0;
    if (!longest.empty()) {
      const uint32_t index = longest[i - known];
      if (index != LongestStarts::none) {
        found = &tokens_[index];
        found_end = i + found->content.size();
      }
    } else {
      const Node* node = &nodes_[0];
      for (size_t k = i; k < end; ++k, ++steps) {
        node = child(*node, static_cast<uint8_t>(text[k]));
        if (node == nullptr) break;
        if (node->token != UINT32_MAX) {
          found = &tokens_[node->token];
          found_end = k + 1;
        }
      }
    }
    if (found == nullptr) {
      ++i;
      continue;
    }
    if (found->guarded) {
      while (barrier != barriers.end() && *barrier <= i) ++barrier;
      // A barrier follows a character of users' text that could begin a guarded token. The character before a barrier
      // is thus users' text, even if the match ends at the barrier.
      if (barrier != barriers.end() && *barrier <= found_end) {
        ++i;  // not past the match: a token that the template wrote may begin inside it
        continue;
      }
    }
    const size_t match = i;
    i = found_end;  // also if the match is rejected below: it has consumed this text
    if (found->guarded && !allowed.has(found->id)) continue;
    if (found->single_word) {
      const bool before = match > begin && has_flag(utf::previous(text.data() + match), unicode::word);
      const bool after = found_end < end && has_flag(text.data() + found_end, unicode::word);
      if (before || after) continue;
    }
    size_t from = match;
    size_t to = found_end;
    if (found->lstrip) {
      while (from > start) {
        const char* before = utf::previous(text.data() + from);
        if (!has_flag(before, unicode::space)) break;
        from = static_cast<size_t>(before - text.data());
      }
    }
    if (found->rstrip) {
      while (to < end && has_flag(text.data() + to, unicode::space)) to += utf::sequence_length(text[to]);
    }
    if (start < from) out.push_back({start, from, no_token});
    out.push_back({from, to, found->id});
    start = i = to;
  }
  if (start < end) out.push_back({start, end, no_token});
}

}  // namespace heddle
