// A trie over bytes. Finds the tokens that a text begins with.
#pragma once
#include <cstdint>
#include <string_view>
#include <vector>

#include "tokenizer/hash_secret.h"
#include "tokenizer/vocabulary/vocab.h"

namespace heddle {

class Trie {
 public:
  static constexpr uint32_t root = 0;
  static constexpr uint32_t none = UINT32_MAX;

  void add(std::string_view bytes, uint32_t value);  // if two strings are equal, the last one wins

  uint32_t child(uint32_t node, uint8_t byte) const {
    const uint64_t key = static_cast<uint64_t>(node) << 8 | byte;
    for (size_t i = slot_of(key);; i = (i + 1) & mask_) {
      if (edges_[i].key == key) return edges_[i].node;
      if (edges_[i].key == free_key) return none;
    }
  }
  uint32_t value(uint32_t node) const { return values_[node]; }            // no_token if no token ends here
  uint32_t size() const { return static_cast<uint32_t>(values_.size()); }  // number of nodes
  uint32_t find(std::string_view bytes) const;                             // the node of a string, or none

  // Calls edge(node, byte, child) for each edge, in no order. A child's index is higher than its parent's.
  template <class F> void for_each_edge(F&& edge) const {
    for (const Edge& each : edges_) {
      if (each.key != free_key) edge(static_cast<uint32_t>(each.key >> 8), static_cast<uint8_t>(each.key), each.node);
    }
  }

 private:
  static constexpr uint64_t free_key = UINT64_MAX;
  struct Edge {
    uint64_t key = free_key;
    uint32_t node = none;
  };
  size_t slot_of(uint64_t key) const { return static_cast<size_t>(hash_(key)) & mask_; }
  void grow();

  NumberHash hash_;
  std::vector<Edge> edges_ = std::vector<Edge>(64);
  size_t mask_ = 63;
  std::vector<uint32_t> values_{no_token};
};

}  // namespace heddle
