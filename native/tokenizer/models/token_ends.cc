#include "tokenizer/models/token_ends.h"

#include <algorithm>
#include <numeric>

namespace heddle {

TokenEnds::TokenEnds(const Trie& trie)
    : trie_(trie), shorter_(trie.size(), Trie::root), token_(trie.size(), Trie::root), length_(trie.size(), 0) {
  std::vector<uint32_t> above(trie.size(), Trie::root);
  std::vector<uint8_t> last(trie.size(), 0);
  trie.for_each_edge([&](uint32_t node, uint8_t byte, uint32_t child) {
    above[child] = node;
    last[child] = byte;
  });
  // Nodes have higher indices than their parents.
  for (uint32_t node = 1; node < trie.size(); ++node) length_[node] = length_[above[node]] + 1;
  std::vector<uint32_t> order(trie.size());  // shortest first
  std::iota(order.begin(), order.end(), 0u);
  std::stable_sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return length_[a] < length_[b]; });
  for (const uint32_t node : order) {
    if (node == Trie::root) continue;
    if (above[node] != Trie::root) shorter_[node] = step(shorter_[above[node]], last[node]);
    token_[node] = trie.value(node) != no_token ? node : token_[shorter_[node]];
  }
}

}  // namespace heddle
