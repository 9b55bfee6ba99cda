// A trie over bytes. Finds the tokens that a text begins with.
#pragma once
#include <cstdint>
#include <string_view>

#include "tokenizer/buffers.h"
#include "tokenizer/hash_secret.h"
#include "tokenizer/memory.h"
#include "tokenizer/vocabulary/vocab.h"

namespace heddle {

class Trie {
 public:
  Trie() { values_.push_back(no_token); }

  static constexpr uint32_t root = 0;
  static constexpr uint32_t none = UINT32_MAX;

  // Reserves room for `nodes` nodes, so that the table is not copied as it grows.
  void reserve(size_t nodes);

  // If two strings are equal, the last one wins. Throws INVALID_FILE beyond 2^24 nodes.
  void add(std::string_view bytes, uint32_t value);

  uint32_t child(uint32_t node, uint8_t byte) const {
    const uint32_t key = key_of(node, byte);
    for (size_t i = slot_of(key);; i = (i + 1) & mask_) {
      const Edge edge = edges_[i];
      if (edge.node == root) return none;
      if (edge.key == key) return edge.node;
    }
  }
  uint32_t value(uint32_t node) const { return values_[node]; }            // no_token if no token ends here
  uint32_t size() const { return static_cast<uint32_t>(values_.size()); }  // number of nodes
  uint32_t find(std::string_view bytes) const;                             // the node of a string, or none

  // Calls edge(node, byte, child) for each edge, in no particular order. A child's index is higher than its parent's.
  template <class F> void for_each_edge(F&& edge) const {
    for (size_t i = 0; i <= mask_; ++i) {
      const Edge each = edges_[i];
      if (each.node != root) edge(each.key >> 8, static_cast<uint8_t>(each.key), each.node);
    }
  }

 private:
  static constexpr uint32_t max_nodes = 1 << 24;  // a node and a byte make a key of 32 bits
  struct Edge {
    uint32_t key;
    uint32_t node;  // the child; the root, which is never a child, marks a free slot
  };
  static uint32_t key_of(uint32_t node, uint8_t byte) { return node << 8 | byte; }
  size_t slot_of(uint32_t key) const { return static_cast<size_t>(hash_(key)) & mask_; }
  size_t free_slot(uint32_t key) const {
    size_t i = slot_of(key);
    while (edges_[i].node != root) i = (i + 1) & mask_;
    return i;
  }
  void resize(size_t slots);  // a power of two

  NumberHash hash_;
  ZeroTable<Edge> edges_{64};
  size_t mask_ = 63;
  IdBuffer values_;
};

}  // namespace heddle
