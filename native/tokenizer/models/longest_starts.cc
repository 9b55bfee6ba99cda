#include "tokenizer/models/longest_starts.h"

#include <algorithm>
#include <numeric>

namespace heddle {

LongestStarts::LongestStarts(const std::vector<std::string_view>& contents) {
  size_t longest = 0;
  std::string backwards;
  for (uint32_t i = 0; i < contents.size(); ++i) {
    backwards.assign(contents[i].rbegin(), contents[i].rend());
    const uint32_t node = trie_.find(backwards);
    if (node == Trie::none || trie_.value(node) == none) trie_.add(backwards, i);
    longest = std::max(longest, contents[i].size());
  }
  shorter_.assign(trie_.size(), Trie::root);
  longest_.resize(trie_.size());
  for (uint32_t node = 0; node < longest_.size(); ++node) longest_[node] = trie_.value(node);
  std::vector<uint32_t> order(contents.size());  // longest first
  std::iota(order.begin(), order.end(), 0u);
  std::sort(
      order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return contents[a].size() > contents[b].size(); });
  std::vector<uint32_t> at(contents.size(), Trie::root);  // node that each content has reached
  std::vector<bool> done(trie_.size(), false);
  for (size_t depth = 0; depth < longest; ++depth) {
    for (const uint32_t i : order) {
      if (contents[i].size() <= depth) break;
      const auto byte = static_cast<uint8_t>(contents[i][contents[i].size() - 1 - depth]);
      const uint32_t above = at[i], node = trie_.child(above, byte);
      at[i] = node;
      if (done[node]) continue;
      done[node] = true;
      if (depth > 0) {
        uint32_t end = shorter_[above];
        while (end != Trie::root && trie_.child(end, byte) == Trie::none) end = shorter_[end];
        const uint32_t next = trie_.child(end, byte);
        shorter_[node] = next == Trie::none ? Trie::root : next;
      }
      if (longest_[node] == none) longest_[node] = longest_[shorter_[node]];
    }
  }
}

void LongestStarts::find(std::string_view text, std::vector<uint32_t>& found) const {
  found.resize(text.size());
  uint32_t node = Trie::root;
  for (size_t i = text.size(); i-- > 0;) {
    const auto byte = static_cast<uint8_t>(text[i]);
    uint32_t next = trie_.child(node, byte);
    while (next == Trie::none && node != Trie::root) {
      node = shorter_[node];
      next = trie_.child(node, byte);
    }
    node = next == Trie::none ? Trie::root : next;
    found[i] = longest_[node];
  }
}

}  // namespace heddle
