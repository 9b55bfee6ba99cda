#include "tokenizer/word_models.h"

#include <algorithm>

#include "runtime/error.h"
#include "tokenizer/utf.h"

namespace heddle {
namespace {

[[noreturn]] void no_unknown() {
  throw invalid_file("model: the text has a part that the vocabulary lacks, and no unknown token is named");
}

void add_unknown(const TokenizerModel& model, std::string_view word, std::vector<PieceToken>& out) {
  if (model.unknown == no_token) no_unknown();
  out.push_back({model.unknown, 0, static_cast<uint32_t>(word.size())});
}

// What is unknown may be a token when put together; else, where the vocabulary has them, it is its bytes.
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

}  // namespace

void encode_wordpiece(const TokenizerModel& model, std::string_view word, std::vector<PieceToken>& out) {
  out.clear();
  if (word.size() > model.max_word_characters) {
    size_t characters = 0;
    for (const char c : word) characters += (static_cast<uint8_t>(c) & 0xC0) != 0x80;
    if (characters > model.max_word_characters) return add_unknown(model, word, out);
  }
  const Trie& trie = model.trie;
  for (size_t begin = 0; begin < word.size();) {
    uint32_t node = begin == 0 ? Trie::root : model.continuing;
    uint32_t found = no_token;
    size_t found_end = begin;
    for (size_t i = begin; i < word.size() && node != Trie::none; ++i) {
      node = trie.child(node, static_cast<uint8_t>(word[i]));
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

void UnigramEncoder::encode(const TokenizerModel& model, std::string_view piece, std::vector<PieceToken>& out) {
  if (model.single_precision) encode<float>(model, piece, out);
  else encode<double>(model, piece, out);
}

// `Score` is what sums are kept as. A new sum is compared before it is rounded to that, as the library does, save for unknown parts.
template <class Score>
void UnigramEncoder::encode(const TokenizerModel& model, std::string_view piece, std::vector<PieceToken>& out) {
  out.clear();
  best_.assign(piece.size() + 1, {0, UINT32_MAX, 0});
  const auto improve = [&](size_t begin, size_t end, double score, uint32_t id) {
    Best& best = best_[end];
    if (best.begin != UINT32_MAX && !(score > best.score)) return;
    if (id == no_token) no_unknown();
    best = {static_cast<Score>(score), static_cast<uint32_t>(begin), id};
  };
  for (size_t begin = 0; begin < piece.size();) {
    const auto size = static_cast<size_t>(utf::sequence_length(piece[begin]));
    const auto here = static_cast<Score>(best_[begin].score);
    bool single = false;  // a token of just this character
    uint32_t node = Trie::root;
    for (size_t i = begin; i < piece.size(); ++i) {
      node = model.trie.child(node, static_cast<uint8_t>(piece[i]));
      if (node == Trie::none) break;
      const uint32_t id = model.trie.value(node);
      if (id == no_token) continue;
      improve(begin, i + 1, static_cast<Score>(model.scores[id]) + double{here}, id);
      single = single || i + 1 == begin + size;
    }
    if (!single) improve(begin, begin + size, static_cast<Score>(model.unknown_score) + here, model.unknown);
    begin += size;
  }

  // Backwards; neighbouring unknown parts are one.
  for (size_t end = piece.size(); end > 0;) {
    const Best& best = best_[end];
    const bool joins = !out.empty() && best.id == model.unknown && out.back().id == model.unknown &&
                       out.back().begin == end;
    if (joins) out.back().begin = best.begin;
    else out.push_back({best.id, best.begin, static_cast<uint32_t>(end)});
    end = best.begin;
  }
  std::reverse(out.begin(), out.end());
  resolve_unknown(model, piece, out);
}

void encode_whole_word(const TokenizerModel& model, std::string_view word, std::vector<PieceToken>& out) {
  out.clear();
  const uint32_t id = model.vocab.find(word);
  if (id == no_token) return add_unknown(model, word, out);
  out.push_back({id, 0, static_cast<uint32_t>(word.size())});
}

}  // namespace heddle
