#include "tokenizer/models/word_models.h"

#include <algorithm>

#include "core/error.h"
#include "tokenizer/text/utf.h"

namespace heddle {
namespace {

[[noreturn]] void no_unknown() {
  throw invalid_file("model: the text has a part that is not in the vocabulary, and there is no unknown token");
}

void add_unknown(const TokenizerModel& model, std::string_view word, std::vector<PieceToken>& out) {
  if (model.unknown == no_token) no_unknown();
  out.push_back({model.unknown, 0, static_cast<uint32_t>(word.size())});
}

// Replaces each unknown token by the token that has the same text. Such a token exists only if the unknown text has
// several characters. Otherwise replaces the unknown token by byte tokens, if the vocabulary has them.
void resolve_unknown(const TokenizerModel& model, std::string_view piece, std::vector<PieceToken>& tokens) {
  std::vector<PieceToken> resolved;
  bool changed = false;
  for (size_t i = 0; i < tokens.size(); ++i) {
    const PieceToken& token = tokens[i];
    if (token.id != model.unknown) {
      if (changed) resolved.push_back(token);
      continue;
    }
    const std::string_view text = piece.substr(token.begin, token.end - token.begin);
    const uint32_t node = model.trie.find(text);
    const uint32_t whole = node == Trie::none ? no_token : model.trie.value(node);
    bool by_bytes = whole == no_token && model.byte_fallback;
    for (const char c : text) by_bytes = by_bytes && model.byte_ids[static_cast<uint8_t>(c)] != no_token;
    if (whole == no_token && !by_bytes) {
      if (changed) resolved.push_back(token);
      continue;
    }
    if (!changed) resolved.assign(tokens.begin(), tokens.begin() + static_cast<std::ptrdiff_t>(i));
    changed = true;
    if (whole != no_token) {
      resolved.push_back({whole, token.begin, token.end});
    } else {
      for (const char c : text) resolved.push_back({model.byte_ids[static_cast<uint8_t>(c)], token.begin, token.end});
    }
  }
  if (changed) tokens.swap(resolved);
}

// Checks for cancellation once every 65,536 steps.
class Watch {
 public:
  explicit Watch(const Cancellation& cancellation) : cancellation_(cancellation) {}
  void step(size_t count) {
    steps_ += count;
    if (steps_ < 0x10000) return;
    steps_ = 0;
    cancellation_.check();
  }

 private:
  const Cancellation& cancellation_;
  size_t steps_ = 0;
};

// Encodes the rest of a word from `begin` on, in linear time.
void encode_continuing(const TokenizerModel& model, std::string_view word, size_t begin, std::vector<PieceToken>& out) {
  const ContinuingTokens& tokens = model.continuing_tokens();
  std::vector<uint32_t> found;
  tokens.starts->find(word.substr(begin), found);
  for (size_t at = begin; at < word.size();) {
    const uint32_t number = found[at - begin];
    if (number == LongestStarts::none) {
      out.clear();
      return add_unknown(model, word, out);
    }
    const size_t end = at + tokens.lengths[number];
    out.push_back({tokens.ids[number], static_cast<uint32_t>(at), static_cast<uint32_t>(end)});
    at = end;
  }
}

// Returns the maximum trie steps for a piece of `bytes` bytes, after which an automaton takes over. Ordinary
// vocabularies need far fewer.
size_t max_steps(size_t bytes) { return 24 * bytes + 256; }

}  // namespace

void encode_wordpiece(const TokenizerModel& model, std::string_view word, std::vector<PieceToken>& out) {
  out.clear();
  if (word.size() > model.max_word_characters) {
    size_t characters = 0;
    for (const char c : word) characters += (static_cast<uint8_t>(c) & 0xC0) != 0x80;
    if (characters > model.max_word_characters) return add_unknown(model, word, out);
  }
  const Trie& trie = model.trie;
  size_t steps = 0;
  for (size_t begin = 0; begin < word.size();) {
    if (steps > max_steps(word.size())) return encode_continuing(model, word, begin, out);
    uint32_t node = begin == 0 ? Trie::root : model.continuing;
    uint32_t found = no_token;
    size_t found_end = begin;
    for (size_t i = begin; i < word.size() && node != Trie::none; ++i) {
      node = trie.child(node, static_cast<uint8_t>(word[i]));
      ++steps;
      if (node == Trie::none || trie.value(node) == no_token) continue;
      found = trie.value(node);
      found_end = i + 1;
    }
    if (found == no_token) {
      out.clear();
      return add_unknown(model, word, out);
    }
    out.push_back({found, static_cast<uint32_t>(begin), static_cast<uint32_t>(found_end)});
    begin = found_end;
  }
}

void UnigramEncoder::encode(const TokenizerModel& model, std::string_view piece, const Cancellation& cancellation,
    std::vector<PieceToken>& out) {
  if (model.single_precision) {
    if (!find_by_starts<float>(model, piece, cancellation)) find_by_ends<float>(model, piece, cancellation);
  } else if (!find_by_starts<double>(model, piece, cancellation)) {
    find_by_ends<double>(model, piece, cancellation);
  }
  // Collects tokens backwards. Neighbouring unknown parts become one.
  out.clear();
  for (size_t end = piece.size(); end > 0;) {
    const Best& best = best_[end];
    const bool joins =
        !out.empty() && best.id == model.unknown && out.back().id == model.unknown && out.back().begin == end;
    if (joins) out.back().begin = best.begin;
    else out.push_back({best.id, best.begin, static_cast<uint32_t>(end)});
    end = best.begin;
  }
  std::reverse(out.begin(), out.end());
  resolve_unknown(model, piece, out);
}

// `Score` is the type in which sums are stored. Like in SentencePiece's library, a new sum is compared before it is
// rounded to `Score`, except for unknown parts.
template <class Score> inline void UnigramEncoder::improve(size_t begin, size_t end, double score, uint32_t id) {
  Best& best = best_[end];
  if (best.begin != UINT32_MAX && !(score > best.score)) return;
  if (id == no_token) no_unknown();
  best = {static_cast<Score>(score), static_cast<uint32_t>(begin), id};
}

// Walks down the trie from each character. Returns false if that takes too many steps.
template <class Score>
bool UnigramEncoder::find_by_starts(
    const TokenizerModel& model, std::string_view piece, const Cancellation& cancellation) {
  best_.assign(piece.size() + 1, {0, UINT32_MAX, 0});
  Watch watch(cancellation);
  size_t steps = 0;
  for (size_t begin = 0; begin < piece.size();) {
    const auto size = static_cast<size_t>(utf::sequence_length(piece[begin]));
    const auto here = static_cast<Score>(best_[begin].score);
    bool single = false;  // a token that is exactly this character
    uint32_t node = Trie::root;
    size_t i = begin;
    for (; i < piece.size(); ++i) {
      node = model.trie.child(node, static_cast<uint8_t>(piece[i]));
      if (node == Trie::none) break;
      const uint32_t id = model.trie.value(node);
      if (id == no_token) continue;
      improve<Score>(begin, i + 1, static_cast<Score>(model.scores[id]) + double{here}, id);
      single = single || i + 1 == begin + size;
    }
    if (!single) improve<Score>(begin, begin + size, static_cast<Score>(model.unknown_score) + here, model.unknown);
    steps += i - begin;
    if (steps > max_steps(piece.size())) return false;
    watch.step(i - begin + 1);
    begin += size;
  }
  return true;
}

// Does the same as find_by_starts in linear time. An automaton finds the tokens that end after each character. It
// visits the longest first, so tokens with the same end are compared in the order of find_by_starts.
template <class Score>
void UnigramEncoder::find_by_ends(
    const TokenizerModel& model, std::string_view piece, const Cancellation& cancellation) {
  const TokenEnds& ends = model.token_ends();
  best_.assign(piece.size() + 1, {0, UINT32_MAX, 0});
  Watch watch(cancellation);
  uint32_t node = Trie::root;
  for (size_t start = 0; start < piece.size();) {
    const size_t end = start + static_cast<size_t>(utf::sequence_length(piece[start]));
    for (size_t i = start; i < end; ++i) node = ends.step(node, static_cast<uint8_t>(piece[i]));
    bool single = false;
    size_t tokens = 0;
    for (uint32_t token = ends.token(node); token != Trie::root; token = ends.next_token(token)) {
      ++tokens;
      const size_t begin = end - ends.length(token);
      if (begin > 0 && best_[begin].begin == UINT32_MAX) continue;  // inside a character
      const uint32_t id = model.trie.value(token);
      improve<Score>(
          begin, end, static_cast<Score>(model.scores[id]) + double{static_cast<Score>(best_[begin].score)}, id);
      single = single || begin == start;
    }
    if (!single) {
      const auto here = static_cast<Score>(best_[start].score);
      improve<Score>(start, end, static_cast<Score>(model.unknown_score) + here, model.unknown);
    }
    watch.step(tokens + 1);
    start = end;
  }
}

void encode_whole_word(const TokenizerModel& model, std::string_view word, std::vector<PieceToken>& out) {
  out.clear();
  const uint32_t id = model.vocab.find(word);
  if (id == no_token) return add_unknown(model, word, out);
  out.push_back({id, 0, static_cast<uint32_t>(word.size())});
}

}  // namespace heddle
