#include "tokenizer/pair_matcher.h"

#include <algorithm>

#include "runtime/error.h"

namespace heddle {
namespace {

constexpr size_t most_token_bytes = 512;
constexpr size_t most_vocabulary_bytes = 8 << 20;
constexpr size_t most_late_tokens = 1024;

// The first two bytes as a number.
uint32_t start_of(const char* p) { return static_cast<uint8_t>(p[0]) << 8 | static_cast<uint8_t>(p[1]); }

}  // namespace

std::unique_ptr<const PairMatcher> PairMatcher::build(const MergeTable& merges, const Vocab& vocab, const uint32_t* byte_ids) {
  std::unique_ptr<PairMatcher> made(new PairMatcher(merges));
  if (!made->find_tokens(vocab, byte_ids)) return nullptr;
  made->token_of_node_.assign(1, none);
  made->edges_.resize(1 << 12);
  for (Id id = 0; id < made->tokens_.size(); ++id) {
    if (made->tokens_[id].made != never) made->add_to_trie(id, vocab.bytes(id));
  }
  for (Id id = 0; id < made->tokens_.size(); ++id) {
    Token& token = made->tokens_[id];
    if (token.made == never) continue;
    const std::string_view text = vocab.bytes(id);
    uint32_t node = 0;
    for (size_t i = 0; i + 1 < text.size(); ++i) {
      node = made->child(node, static_cast<uint8_t>(text[i]));
      if (made->token_of_node_[node] != none) token.shorter = made->token_of_node_[node];
    }
  }
  return made;
}

// Fills tokens_: which tokens occur in encodings, and by which merge each comes into being. A list may name several merges for a
// token (those made from tiktoken's files name all): the one that its own bytes take is the one that every text takes.
bool PairMatcher::find_tokens(const Vocab& vocab, const uint32_t* byte_ids) {
  tokens_.resize(vocab.size());
  for (int byte = 0; byte < 256; ++byte) {
    const Id id = byte_ids[byte];
    if (id == no_token || tokens_[id].made != never) return false;
    tokens_[id].made = 0;
    tokens_[id].length = 1;
  }
  struct Way {
    uint32_t rank;
    Id id, left, right;
  };
  std::vector<Way> ways;
  ways.reserve(merges_.size());
  merges_.for_each([&](Id left, Id right, Merge merge) { ways.push_back({merge.rank, merge.id, left, right}); });
  std::sort(ways.begin(), ways.end(), [](const Way& a, const Way& b) { return a.rank < b.rank; });
  std::vector<Way> early;  // of tokens whose parts were not there yet
  size_t total = 0;
  for (size_t i = 0; i < ways.size(); ++i) {
    const Way& way = ways[i];
    if ((i > 0 && ways[i - 1].rank == way.rank) || way.rank >= never - 1) return false;
    Token& token = tokens_[way.id];
    if (token.made != never) continue;
    if (tokens_[way.left].made == never || tokens_[way.right].made == never) {
      early.push_back(way);
      continue;
    }
    // Its own bytes must come to this pair. A token that they never become is in no encoding.
    if (!fit(way.left, way.right, way.rank + 1)) continue;
    const size_t length = vocab.bytes(way.id).size();
    total += length;
    if (length > most_token_bytes || total > most_vocabulary_bytes) return false;
    token = {way.rank + 1, way.left, way.right, none, static_cast<uint32_t>(length)};
  }
  for (const Way& way : early) {
    const bool parts_came = tokens_[way.left].made != never && tokens_[way.right].made != never;
    if (!parts_came || tokens_[way.id].made != never) continue;
    const std::string_view text = vocab.bytes(way.id);
    if (!late_.empty() && late_.back() == text) continue;
    late_.push_back(text);
    if (late_.size() > most_late_tokens) return false;
  }
  std::sort(late_.begin(), late_.end());
  late_starts_.assign(late_.empty() ? 0 : 65536 / 64, 0);
  for (const std::string_view text : late_) {
    const uint32_t start = start_of(text.data());
    late_starts_[start / 64] |= uint64_t{1} << start % 64;
  }
  return true;
}

bool PairMatcher::covers(std::string_view piece) const {
  if (late_.empty()) return true;
  for (size_t i = 0; i + 1 < piece.size(); ++i) {
    const uint32_t start = start_of(piece.data() + i);
    if (!(late_starts_[start / 64] >> start % 64 & 1)) continue;
    const std::string_view rest = piece.substr(i);
    for (auto it = std::lower_bound(late_.begin(), late_.end(), rest.substr(0, 2)); it != late_.end(); ++it) {
      if (it->substr(0, 2) != rest.substr(0, 2)) break;
      if (rest.substr(0, it->size()) == *it) return false;
    }
  }
  return true;
}

// Whether a and b stay as they are side by side: undoing the later of the two merges again and again, no pair across the
// border would have been joined before it. Of one rank the left pair is joined first, hence + 1.
bool PairMatcher::fit(Id a, Id b, uint32_t limit) const {
  for (;;) {
    const Merge merge = merges_.find(a, b);
    if (merge.rank != no_token && merge.rank + 1 < limit) return false;
    const Token &left = tokens_[a], &right = tokens_[b];
    if (left.made > right.made) {
      limit = left.made;
      a = left.right;
    } else {
      if (right.made == 0) return true;  // two bytes
      limit = right.made + 1;
      b = right.left;
    }
  }
}

void PairMatcher::add_to_trie(Id token, std::string_view text) {
  uint32_t node = 0;
  for (const char c : text) node = add_child(node, static_cast<uint8_t>(c));
  token_of_node_[node] = token;
}

uint32_t PairMatcher::child(uint32_t node, uint8_t byte) const {
  const uint32_t key = node << 8 | byte;
  const size_t mask = edges_.size() - 1;
  for (size_t i = (key * 0x9E3779B1u >> 8) & mask;; i = (i + 1) & mask) {
    if (edges_[i].key == key) return edges_[i].node;
    if (edges_[i].key == UINT32_MAX) return 0;
  }
}

uint32_t PairMatcher::add_child(uint32_t node, uint8_t byte) {
  if (const uint32_t known = child(node, byte)) return known;
  if (2 * (used_edges_ + 1) > edges_.size()) grow_edges();
  const uint32_t key = node << 8 | byte;
  const size_t mask = edges_.size() - 1;
  size_t i = (key * 0x9E3779B1u >> 8) & mask;
  while (edges_[i].key != UINT32_MAX) i = (i + 1) & mask;
  const auto made = static_cast<uint32_t>(token_of_node_.size());
  edges_[i] = {key, made};
  token_of_node_.push_back(none);
  ++used_edges_;
  return made;
}

void PairMatcher::grow_edges() {
  std::vector<Edge> old(2 * edges_.size());
  old.swap(edges_);
  const size_t mask = edges_.size() - 1;
  for (const Edge& edge : old) {
    if (edge.key == UINT32_MAX) continue;
    size_t i = (edge.key * 0x9E3779B1u >> 8) & mask;
    while (edges_[i].key != UINT32_MAX) i = (i + 1) & mask;
    edges_[i] = edge;
  }
}

PairMatcher::Id PairMatcher::longest(const char* p, const char* end) const {
  Id best = none;
  uint32_t node = 0;
  for (; p < end; ++p) {
    node = child(node, static_cast<uint8_t>(*p));
    if (node == 0) break;
    if (token_of_node_[node] != none) best = token_of_node_[node];
  }
  return best;  // never none: every byte is a token
}

void PairMatcher::encode(std::string_view piece, const std::atomic<bool>* cancelled, std::vector<Symbol>& out) const {
  const size_t size = piece.size();
  const char* text = piece.data();
  std::vector<Id> stack;
  stack.reserve(size / 3 + 1);
  // Ends from which no encoding goes on: each is found out once.
  std::vector<bool> dead(size + 1, false);
  size_t at = 0, steps = 0;
  Id next = longest(text, text + size);
  while (at < size) {
    if ((++steps & 0xFFFF) == 0 && cancelled != nullptr && cancelled->load(std::memory_order_relaxed)) {
      throw Error("ABORTED", "encode: aborted");
    }
    for (;; next = tokens_[next].shorter) {
      if (next == none) {  // nothing fits here: the token before has to be another
        dead[at] = true;
        if (stack.empty()) throw internal_error("encode: expected an encoding of every text, found none");
        next = stack.back();
        stack.pop_back();
        at -= tokens_[next].length;
        continue;  // goes on with the next shorter one
      }
      const size_t end = at + tokens_[next].length;
      if (dead[end] || (!stack.empty() && !fit(stack.back(), next, none))) continue;
      stack.push_back(next);
      at = end;
      next = at < size ? longest(text + at, text + size) : none;
      break;
    }
  }
  out.reserve(out.size() + stack.size());
  for (const Id token : stack) out.push_back({token, tokens_[token].length});
}

const PairMatcher* LongPieces::for_piece(size_t size, const MergeTable& merges, const Vocab& vocab, const uint32_t* byte_ids) const {
  if (seen_.load(std::memory_order_relaxed) < worth_building &&
      seen_.fetch_add(size, std::memory_order_relaxed) + size < worth_building) {
    return nullptr;
  }
  std::call_once(once_, [&] { matcher_ = PairMatcher::build(merges, vocab, byte_ids); });
  return matcher_.get();
}

}  // namespace heddle
