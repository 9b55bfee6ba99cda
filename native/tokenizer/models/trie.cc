#include "tokenizer/models/trie.h"

namespace heddle {

void Trie::add(std::string_view bytes, uint32_t value) {
  uint32_t node = root;
  for (const char c : bytes) {
    const auto byte = static_cast<uint8_t>(c);
    uint32_t next = child(node, byte);
    if (next == none) {
      if (2 * values_.size() > edges_.size()) grow();
      next = static_cast<uint32_t>(values_.size());
      values_.push_back(no_token);
      const uint64_t key = static_cast<uint64_t>(node) << 8 | byte;
      size_t i = slot_of(key);
      while (edges_[i].key != free_key) i = (i + 1) & mask_;
      edges_[i] = {key, next};
    }
    node = next;
  }
  values_[node] = value;
}

uint32_t Trie::find(std::string_view bytes) const {
  uint32_t node = root;
  for (const char c : bytes) {
    node = child(node, static_cast<uint8_t>(c));
    if (node == none) return none;
  }
  return node;
}

void Trie::grow() {
  std::vector<Edge> old(2 * edges_.size());
  old.swap(edges_);
  mask_ = edges_.size() - 1;
  for (const Edge& edge : old) {
    if (edge.key == free_key) continue;
    size_t i = slot_of(edge.key);
    while (edges_[i].key != free_key) i = (i + 1) & mask_;
    edges_[i] = edge;
  }
}

}  // namespace heddle
