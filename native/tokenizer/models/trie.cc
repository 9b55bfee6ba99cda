#include "tokenizer/models/trie.h"

#include <algorithm>
#include <string>
#include <utility>

#include "core/error.h"

namespace heddle {

void Trie::add(std::string_view bytes, uint32_t value) {
  uint32_t node = root;
  for (const char c : bytes) {
    const auto byte = static_cast<uint8_t>(c);
    uint32_t next = child(node, byte);
    if (next == none) {
      if (values_.size() == max_nodes) {
        throw invalid_file(
            "vocab: expected tokens with at most " + std::to_string(max_nodes) + " distinct prefixes, got more");
      }
      if (2 * values_.size() > mask_ + 1) resize(2 * (mask_ + 1));
      next = static_cast<uint32_t>(values_.size());
      values_.push_back(no_token);
      const uint32_t key = key_of(node, byte);
      edges_[free_slot(key)] = {key, next};
    }
    node = next;
  }
  values_.data()[node] = value;
}

uint32_t Trie::find(std::string_view bytes) const {
  uint32_t node = root;
  for (const char c : bytes) {
    node = child(node, static_cast<uint8_t>(c));
    if (node == none) return none;
  }
  return node;
}

void Trie::reserve(size_t nodes) {
  size_t slots = mask_ + 1;
  while (slots < 2 * std::min<size_t>(nodes, max_nodes)) slots *= 2;
  if (slots > mask_ + 1) resize(slots);
}

void Trie::resize(size_t slots) {
  ZeroTable<Edge> old(slots);
  std::swap(old, edges_);
  const size_t last = std::exchange(mask_, slots - 1);
  for (size_t i = 0; i <= last; ++i) {
    const Edge edge = old[i];
    if (edge.node != root) edges_[free_slot(edge.key)] = edge;
  }
}

}  // namespace heddle
