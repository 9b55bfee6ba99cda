// Converts the words of a segment to ids with the cache or the model.
#include "tokenizer/encoder.h"
#include "tokenizer/encoder_target.h"
#include "tokenizer/split/split_run.h"

namespace heddle {

void Encoder::encode_plain(const char* begin, const char* end, Target& target) {
  if (target.map == nullptr) return encode_words<false>(begin, end, target);
  return encode_words<true>(begin, end, target);
}

template <bool with_offsets> void Encoder::encode_words(const char* begin, const char* end, Target& target) {
  // The offsets of a cached word are sums of its tokens' lengths. These add up to the word's length only if every byte
  // has a token.
  const bool caches = (!with_offsets || model_->every_byte_known) && !dropout_.active();
  model_->splitter.run(begin, end, [&](const char* word, const char* word_end) {
    target.check_canceled();
    if (!caches) return encode_word(word, word_end, target);
    encode_cached<with_offsets>(word, word_end, target);
  });
}

template <bool with_offsets>
inline void Encoder::encode_cached(const char* word, const char* word_end, Target& target) {
  IdBuffer& ids = target.out.ids;
  const auto length = static_cast<size_t>(word_end - word);
  if (length > WordCache::max_bytes) return encode_long_cached<with_offsets>(word, word_end, target);
  const bool wide = word + WordCache::max_bytes <= target.readable_end;
  const WordCache::Key key = wide ? WordCache::wide_key(word, length) : WordCache::narrow_key(word, length);
  if (const WordCache::Entry* entry = cache_.find(key, length)) {
    const size_t before = ids.size();
    if (entry->count <= WordCache::inline_ids) {
      ids.add_block(entry->ids, entry->count);
    } else {
      ids.add_block(entry->ids, WordCache::inline_ids);
      ids.add_block(cache_.more_ids(entry).ids, entry->count - WordCache::inline_ids);
    }
    if constexpr (with_offsets) add_token_offsets(word, before, target);
    return;
  }
  const size_t before = ids.size();
  encode_word(word, word_end, target);
  const size_t count = ids.size() - before;
  if (count <= WordCache::max_ids) cache_.add(key, length, ids.data() + before, count);
}

template <bool with_offsets> void Encoder::encode_long_cached(const char* word, const char* word_end, Target& target) {
  const auto length = static_cast<size_t>(word_end - word);
  if (length > WordCache::max_long_bytes || word + WordCache::max_long_bytes > target.readable_end) {
    return encode_word(word, word_end, target);
  }
  IdBuffer& ids = target.out.ids;
  const WordCache::Key low = WordCache::wide_key(word, WordCache::max_bytes);
  const WordCache::Key high = WordCache::wide_key(word + WordCache::max_bytes, length - WordCache::max_bytes);
  const size_t before = ids.size();
  if (const WordCache::LongEntry* entry = cache_.find_long(low, high, length)) {
    ids.add_block(entry->ids, entry->count);
    if constexpr (with_offsets) add_token_offsets(word, before, target);
    return;
  }
  encode_word(word, word_end, target);
  const size_t count = ids.size() - before;
  if (count <= WordCache::max_long_ids) cache_.add_long(low, high, length, ids.data() + before, count);
}

// Adds the offsets of the ids from index `before` on. The bytes of these tokens are the text from `word` on.
void Encoder::add_token_offsets(const char* word, size_t before, Target& target) {
  for (size_t i = before; i < target.out.ids.size(); ++i) {
    const char* from = word;
    word += model_->vocab.bytes(target.out.ids[i]).size();
    target.add_offsets(from, word);
  }
}

// Used by encoder_general.cc.
template void Encoder::encode_cached<false>(const char* word, const char* word_end, Target& target);
template void Encoder::encode_cached<true>(const char* word, const char* word_end, Target& target);

void Encoder::encode_word(const char* begin, const char* end, Target& target) {
  const TokenizerModel& model = *model_;
  const std::string_view word(begin, static_cast<size_t>(end - begin));
  if (model.kind != ModelKind::bpe) return encode_tokens(begin, word.size(), target);
  if (dropout_.active()) {
    initial_symbols(begin, end, target);
    return encode_symbols(begin, dropout_.run(model.merges, symbols_, target.options.cancellation), target);
  }
  const PairMatcher* matcher = long_piece_matcher(word);
  // A matcher finds single-token words itself.
  const bool asks = model.ignore_merges || (model.every_byte_known && matcher == nullptr);
  const uint32_t whole = asks ? model.vocab.find(word) : no_token;
  if (whole != no_token && (model.ignore_merges || model.whole_tokens.is(whole, WholeTokens::yes))) {
    target.out.ids.push_back(whole);
    if (target.map != nullptr) target.add_offsets(begin, end);
    return;
  }
  if (matcher != nullptr) {
    symbols_.clear();
    matcher->encode(word, target.options.cancellation, matcher_scratch_, symbols_);
    return encode_symbols(begin, symbols_.size(), target);
  }
  size_t count = 0;
  if (model.every_byte_known) {
    symbols_.resize(word.size());
    for (size_t i = 0; i < word.size(); ++i) symbols_[i] = {model.byte_ids[static_cast<uint8_t>(word[i])], 1};
    count = merger_.run_bytes(model.merges, word, symbols_.data());
    if (whole != no_token) model.whole_tokens.set(whole, count == 1 ? WholeTokens::yes : WholeTokens::no);
  } else {
    count = initial_symbols(begin, end, target);
    count = merger_.run(model.merges, symbols_.data(), count);
  }
  encode_symbols(begin, count, target);
}

// Encodes the first `count` symbols, which represent the text from `begin` on.
void Encoder::encode_symbols(const char* begin, size_t count, Target& target) {
  uint32_t* to = target.out.ids.room(count);
  for (size_t i = 0; i < count; ++i) to[i] = symbols_[i].id;
  target.out.ids.took(count);
  if (target.map == nullptr) return;
  for (size_t i = 0; i < count; ++i) {
    target.add_offsets(begin, begin + symbols_[i].length);
    begin += symbols_[i].length;
  }
}

// Returns the matcher for a piece that is too long for a short cache entry. Returns null if merger_ must encode it.
const PairMatcher* Encoder::long_piece_matcher(std::string_view piece) const {
  const TokenizerModel& model = *model_;
  if (piece.size() <= WordCache::max_bytes || !model.byte_level) return nullptr;
  const PairMatcher* matcher = model.long_pieces.for_piece(piece.size(), model.merges, model.vocab, model.byte_ids);
  return matcher != nullptr && matcher->covers(piece) ? matcher : nullptr;
}

// Encodes a word with a model other than BPE.
void Encoder::encode_tokens(const char* begin, size_t length, Target& target) {
  const std::string_view word(begin, length);
  switch (model_->kind) {
    case ModelKind::wordpiece: encode_wordpiece(*model_, word, tokens_); break;
    case ModelKind::unigram: unigram_.encode(*model_, word, target.options.cancellation, tokens_); break;
    default: encode_whole_word(*model_, word, tokens_);
  }
  for (const PieceToken& token : tokens_) {
    target.out.ids.push_back(token.id);
    if (target.map != nullptr) target.add_offsets(begin + token.begin, begin + token.end);
  }
}

// Fills symbols_ with the word's bytes (byte-level) or characters. Returns their number. Moves `begin` to the first
// one, behind unknown text that is dropped.
size_t Encoder::initial_symbols(const char*& begin, const char* end, const Target& target) {
  const TokenizerModel& model = *model_;
  const char* const word = begin;
  symbols_.clear();
  Symbol unknown{no_token, 0};  // pending unknown text
  const auto flush = [&] {
    if (unknown.id != no_token) symbols_.push_back(unknown);
    unknown.id = no_token;
  };
  const auto add_unknown = [&](uint32_t length) {
    // Without an unknown token, unknown text is dropped, as in Hugging Face's library. The previous symbol's offsets
    // include the dropped text. At the start of the word, no symbol's offsets include it.
    if (model.unknown == no_token) {
      if (symbols_.empty()) begin += length;
      else symbols_.back().length += length;
    } else if (model.fuse_unknown && unknown.id != no_token) {
      unknown.length += length;
    } else {
      flush();
      unknown = {model.unknown, length};
    }
  };
  if (model.byte_level) {
    for (const char* p = word; p < end; ++p) {
      const uint32_t id = model.byte_ids[static_cast<uint8_t>(*p)];
      if (id == no_token) {
        add_unknown(1);
        continue;
      }
      flush();
      symbols_.push_back({id, 1});
    }
    flush();
    return symbols_.size();
  }
  const bool decorated = !model.subword_prefix.empty() || !model.word_suffix.empty();
  std::string name;
  for (const char* p = word; p < end;) {
    if ((symbols_.size() & 0x3FFF) == 0x3FFF) target.look();
    const int size = utf::sequence_length(*p);
    std::string_view symbol(p, static_cast<size_t>(size));
    if (decorated) {
      name.assign(p > word ? model.subword_prefix : std::string());
      name += symbol;
      if (p + size == end) name += model.word_suffix;
      symbol = name;
    }
    const uint32_t id = model.vocab.find(symbol);
    bool by_bytes = id == no_token && model.byte_fallback;
    for (const char c : symbol) by_bytes = by_bytes && model.byte_ids[static_cast<uint8_t>(c)] != no_token;
    if (id != no_token) {
      flush();
      symbols_.push_back({id, static_cast<uint32_t>(size)});
    } else if (by_bytes) {
      // Like in Hugging Face's library, bytes come before the pending unknown text.
      // The lengths of their symbols add up to the character's length. An added prefix or suffix does not count.
      uint32_t left = static_cast<uint32_t>(size);
      for (const char c : symbol) {
        symbols_.push_back({model.byte_ids[static_cast<uint8_t>(c)], left > 0 ? 1u : 0u});
        left -= left > 0;
      }
    } else {
      add_unknown(static_cast<uint32_t>(size));
    }
    p += size;
  }
  flush();
  return symbols_.size();
}

}  // namespace heddle
