#include "tokenizer/models/pair_matcher.h"

#include <algorithm>
#include <cstring>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "core/error.h"

namespace heddle {
namespace {

constexpr size_t max_token_bytes = 512;
constexpr size_t max_vocabulary_bytes = 8 << 20;
constexpr size_t max_late_tokens = 1024;

// Returns the first two bytes as a number.
uint32_t start_of(const char* p) { return static_cast<uint8_t>(p[0]) << 8 | static_cast<uint8_t>(p[1]); }

}  // namespace

std::unique_ptr<const PairMatcher> PairMatcher::build(
    const MergeTable& merges, const Vocab& vocab, const uint32_t* byte_ids) {
  if (merges.is_by_text()) return nullptr;
  std::unique_ptr<PairMatcher> made(new PairMatcher(merges));
  if (!made->find_tokens(vocab, byte_ids)) return nullptr;
  made->build_trie(vocab);
  return made;
}

// Builds the trie from tokens sorted by their bytes; the tokens of a node are a range of them. Nodes are stored depth
// first: a node's children are contiguous, and the first child's children follow them. The ends of long tokens, which
// have single children, thus share a few cache lines.
void PairMatcher::build_trie(const Vocab& vocab) {
  struct Entry {
    std::string_view text;
    Id id;
  };
  std::vector<Entry> sorted;
  for (Id id = 0; id < tokens_.size(); ++id) {
    if (tokens_[id].made != never) sorted.push_back({vocab.bytes(id), id});
  }
  std::sort(sorted.begin(), sorted.end(), [](const Entry& a, const Entry& b) { return a.text < b.text; });
  struct Range {
    uint32_t begin, end;
    Id shorter;  // the longest token that ends at an ancestor
    uint32_t node, depth;
  };
  steps_.assign(tokens_.size(), {});
  nodes_.assign(1, {});
  std::vector<Range> open{{0, static_cast<uint32_t>(sorted.size()), none, 0, 0}};
  while (!open.empty()) {
    Range range = open.back();
    open.pop_back();
    if (sorted[range.begin].text.size() == range.depth) {
      const Id id = sorted[range.begin++].id;
      steps_[id] = {range.shorter, range.depth};
      nodes_[range.node].token = range.shorter = id;
    }
    const auto first = static_cast<uint32_t>(nodes_.size());
    const size_t above = open.size();
    std::array<uint32_t, 256> children{};
    uint8_t bytes[Node::few];
    uint32_t count = 0;
    for (uint32_t begin = range.begin; begin < range.end;) {
      const auto byte = static_cast<uint8_t>(sorted[begin].text[range.depth]);
      uint32_t end = begin + 1;
      while (end < range.end && static_cast<uint8_t>(sorted[end].text[range.depth]) == byte) ++end;
      open.push_back({begin, end, range.shorter, first + count, range.depth + 1});
      if (count < Node::few) bytes[count] = byte;
      children[byte] = first + count++;
      begin = end;
    }
    std::reverse(open.begin() + static_cast<std::ptrdiff_t>(above), open.end());
    nodes_.resize(nodes_.size() + count);
    Node& made = nodes_[range.node];
    made.first = first;
    if (count <= Node::few) {
      made.count = static_cast<uint8_t>(count);
      std::copy_n(bytes, count, made.bytes);
    } else {
      made.count = 255;
      const auto row = static_cast<uint32_t>(wide_.size());
      std::memcpy(made.bytes, &row, sizeof(row));
      wide_.push_back(children);
    }
  }
  pairs_.assign(256 * 256, 0);
  for (uint32_t a = 0; a < 256; ++a) {
    const Node& above = nodes_[child(nodes_[0], static_cast<uint8_t>(a))];
    bytes_[a] = above.token;
    for (uint32_t b = 0; b < 256; ++b) pairs_[a << 8 | b] = child(above, static_cast<uint8_t>(b));
  }
}

// Fills tokens_: which tokens occur in encodings, and which merge produces each of them. A file may have several merges
// with the same result. Files converted from tiktoken list all of them. Encoding uses only one: the last merge when the
// token's own bytes are encoded.
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
  std::vector<Way> early;  // ways whose parts were not known yet
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
    // Merging the token's own bytes must end with this pair. Otherwise this merge produces the token in no encoding.
    if (!fit(way.left, way.right, way.rank + 1)) continue;
    const size_t length = vocab.bytes(way.id).size();
    total += length;
    if (length > max_token_bytes || total > max_vocabulary_bytes) return false;
    token = {way.rank + 1, way.left, way.right, static_cast<uint16_t>(length)};
  }
  for (const Way& way : early) {
    const bool parts_came = tokens_[way.left].made != never && tokens_[way.right].made != never;
    if (!parts_came || tokens_[way.id].made != never) continue;
    const std::string_view text = vocab.bytes(way.id);
    if (!late_.empty() && late_.back() == text) continue;
    late_.push_back(text);
    if (late_.size() > max_late_tokens) return false;
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

// Whether the tokens a and b can be adjacent in an encoding. Repeatedly undoes the merge of a or b with the higher
// rank, and keeps the part at the border. No pair across the border may merge before the merge that was undone. At
// equal ranks the left pair merges first, so for the right token a pair of equal rank is too early as well (+ 1).
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

// Like fit(a, b, none), with a cache.
bool PairMatcher::fit(Id a, Id b, Scratch& scratch) const {
  const uint64_t key = static_cast<uint64_t>(a) << 32 | b << 1;
  uint64_t& slot = scratch.fits_[key * 0x9E3779B97F4A7C15ULL >> (64 - Scratch::bits)];
  if ((slot & ~uint64_t{1}) != key) slot = key | static_cast<uint64_t>(fit(a, b, none));
  return slot & 1;
}

uint32_t PairMatcher::child(const Node& node, uint8_t byte) const {
  if (node.count == 255) {
    uint32_t row;
    std::memcpy(&row, node.bytes, sizeof(row));
    return wide_[row][byte];
  }
#if defined(__SSE2__)  // without a loop, whose end would be mispredicted
  const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(&node.count));
  const int equal = _mm_movemask_epi8(_mm_cmpeq_epi8(bytes, _mm_set1_epi8(static_cast<char>(byte)))) >> 1;
  const int found = equal & ((1 << node.count) - 1);
  return found != 0 ? node.first + static_cast<uint32_t>(__builtin_ctz(static_cast<unsigned>(found))) : 0;
#else
  for (uint32_t i = 0; i < node.count; ++i) {
    if (node.bytes[i] == byte) return node.first + i;
  }
  return 0;
#endif
}

PairMatcher::Id PairMatcher::longest(const char* p, const char* end) const {
  const auto* at = reinterpret_cast<const uint8_t*>(p);
  Id best = bytes_[at[0]];  // every byte is a token
  if (end - p < 2) return best;
  uint32_t next = pairs_[static_cast<uint32_t>(at[0]) << 8 | at[1]];
  for (p += 2; next != 0; ++p) {
    const Node& node = nodes_[next];
    if (node.token != none) best = node.token;
    if (p == end || node.count == 0) break;
    next = child(node, static_cast<uint8_t>(*p));
  }
  return best;
}

void PairMatcher::encode(
    std::string_view piece, const Cancellation& cancellation, Scratch& scratch, std::vector<Symbol>& out) const {
  const size_t size = piece.size();
  const char* text = piece.data();
  std::vector<Id>& stack = scratch.stack_;
  stack.clear();
  // Positions from which no encoding continues. They are remembered, so that each is reached only once.
  std::vector<bool>& dead = scratch.dead_;
  dead.assign(size + 1, false);
  size_t at = 0, steps = 0;
  Id next = longest(text, text + size);
  while (at < size) {
    if ((++steps & 0xFFFF) == 0) cancellation.check();
    for (;; next = steps_[next].shorter) {
      if (next == none) {  // nothing fits: replaces the previous token
        dead[at] = true;
        if (stack.empty()) throw internal_error("encode: expected an encoding of every text, found none");
        next = stack.back();
        stack.pop_back();
        at -= steps_[next].length;
        continue;  // tries the next shorter token
      }
      const size_t end = at + steps_[next].length;
      if (dead[end] || (!stack.empty() && !fit(stack.back(), next, scratch))) continue;
      stack.push_back(next);
      at = end;
      next = at < size ? longest(text + at, text + size) : none;
      break;
    }
  }
  const size_t before = out.size();
  out.resize(before + stack.size());
  for (size_t i = 0; i < stack.size(); ++i) out[before + i] = {stack[i], steps_[stack[i]].length};
}

const PairMatcher* LongPieces::for_piece(
    size_t size, const MergeTable& merges, const Vocab& vocab, const uint32_t* byte_ids) const {
  if (seen_.load(std::memory_order_relaxed) < worth_building &&
      seen_.fetch_add(size, std::memory_order_relaxed) + size < worth_building) {
    return nullptr;
  }
  std::call_once(once_, [&] { matcher_ = PairMatcher::build(merges, vocab, byte_ids); });
  return matcher_.get();
}

}  // namespace heddle
