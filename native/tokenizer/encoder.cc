#include "tokenizer/encoder.h"

#include <algorithm>
#include <cstring>

#include "runtime/error.h"
#include "tokenizer/split_run.h"
#include "tokenizer/unicode.h"
#include "tokenizer/unicode_normalizer.h"
#include "tokenizer/utf.h"

namespace heddle {

// Words arrive as pointers into `buffer`: the text itself, or a normalised copy of one segment of it.
struct Encoder::Target {
  Encoding& out;
  const EncodeOptions& options;
  const utf::OffsetMap* map;  // of the text; null without offsets
  const std::vector<size_t>& barriers;  // bytes of the text
  const char* buffer = nullptr;
  const char* readable_end = nullptr;  // of the buffer; there may be more of it than there is text
  const std::vector<uint32_t>* sources = nullptr;  // of such a copy: the byte of the text that each byte comes from
  const std::vector<Origin>* origins = nullptr;    // the same of a text that went the general way; sources is null then
  uint32_t words = 0;

  // Byte range of the text that [begin, end) of the buffer stands for; end is that of a last byte, inclusive.
  void add_offsets(const char* begin, const char* end) {
    size_t first = static_cast<size_t>(begin - buffer);
    size_t last = static_cast<size_t>(end - buffer) - (end > begin ? 1 : 0);
    if (begin == end && first > 0) first = last = first - 1;  // what a word's suffix became
    if (origins != nullptr) {
      out.offsets.push_back(map->start((*origins)[first].begin));
      out.offsets.push_back(map->start((*origins)[last].end));
      return;
    }
    if (sources != nullptr) {
      const bool inserted_only = (*sources)[last] == UINT32_MAX;
      while (first < last && (*sources)[first] == UINT32_MAX) ++first;  // a prefix that the text does not have
      if (inserted_only) {
        while ((*sources)[last] == UINT32_MAX) ++last;  // more of the prefix may follow; the end of the segment has a source
        const uint32_t at = map->start((*sources)[last]);
        out.offsets.push_back(at);
        out.offsets.push_back(at);
        return;
      }
      first = (*sources)[first];
      last = (*sources)[last];
    }
    out.offsets.push_back(map->start(first));
    out.offsets.push_back(map->end(last));
  }

  void add_token(uint32_t id, size_t text_begin, size_t text_end) {
    out.ids.push_back(id);
    if (map == nullptr) return;
    out.offsets.push_back(map->start(text_begin));
    out.offsets.push_back(map->start(text_end));
  }

  void add_outside(const std::vector<uint32_t>& ids) {
    out.ids.append(ids.data(), ids.size());
    if (map == nullptr) return;
    for (size_t i = 0; i < 2 * ids.size(); ++i) out.offsets.push_back(0);
  }

  void check_cancelled() {
    if ((++words & 1023) == 0 && options.cancelled != nullptr && options.cancelled->load(std::memory_order_relaxed)) {
      throw Error("ABORTED", "encode: aborted");
    }
  }
};

namespace {

std::vector<size_t> to_bytes(const std::vector<uint32_t>& utf16_offsets, std::string_view text) {
  std::vector<size_t> bytes;
  bytes.reserve(utf16_offsets.size());
  size_t byte = 0;
  uint32_t at = 0;
  for (const uint32_t offset : utf16_offsets) {
    while (at < offset && byte < text.size()) {
      const int size = utf::sequence_length(text[byte]);
      at += size == 4 ? 2 : 1;
      byte += size;
    }
    bytes.push_back(byte);
  }
  return bytes;
}

}  // namespace

void Encoder::encode(const char16_t* text, size_t length, const EncodeOptions& options,
                     const std::vector<uint32_t>& barriers, Encoding& out) {
  if (length > SIZE_MAX / 4) throw std::bad_alloc();
  utf8_.finish(utf::to_utf8(text, length, utf8_.start(3 * length)));
  const std::string_view utf8 = utf8_.view();
  const utf::OffsetMap map(options.offsets ? utf8 : std::string_view(), options.byte_offsets);
  const std::vector<size_t> byte_barriers = to_bytes(barriers, utf8);
  dropout_.seed(options.dropout, options.seed);
  Target target{out, options, options.offsets ? &map : nullptr, byte_barriers};
  if (options.add_special) target.add_outside(model_->begin_ids);
  if (model_->raw_added.empty()) {
    encode_text(utf8, 0, utf8.size(), true, target);
  } else {
    raw_segments_.clear();
    model_->raw_added.split(utf8, 0, utf8.size(), allowed(options), byte_barriers, raw_segments_);
    for (const Segment& segment : raw_segments_) {
      if (segment.id != no_token) target.add_token(segment.id, segment.begin, segment.end);
      else encode_text(utf8, segment.begin, segment.end, segment.begin == 0, target);
    }
  }
  if (options.add_special) target.add_outside(model_->end_ids);
}

// One segment between added tokens of the raw text: normalise it and look for the other added tokens.
void Encoder::encode_text(std::string_view text, size_t begin, size_t end, bool at_start, Target& target) {
  if (begin == end) return;
  const TokenizerModel& model = *model_;
  const bool normalizes = !model.normalizer.empty() &&
                          !(model.normalizer_keeps_ascii && utf::ascii_length(text.substr(begin, end - begin)) == end - begin);
  if (normalizes || !model.pre_tokenizer.empty() || (model.needs_nfc && may_need_nfc(text.substr(begin, end - begin)))) {
    return encode_generally(text, begin, end, target);
  }
  const bool marks = model_->spaces_to_marks;
  const PrefixRule rule = model_->prefix_rule;
  const std::string& prefix = model_->prefix;
  const bool copies = marks || rule != PrefixRule::never;
  if (!copies) {
    target.buffer = text.data();
    target.readable_end = utf8_.view().data() + utf8_.view().size() + Utf8Buffer::padding;
    target.sources = nullptr;
    return split_normalized(text, begin, end, target.barriers, target);
  }

  normalized_.clear();
  source_.clear();
  const bool sources = target.map != nullptr;
  const auto put_prefix = [&] {
    normalized_ += prefix;
    if (sources) source_.resize(normalized_.size(), UINT32_MAX);
  };
  const auto starts_with_prefix = [&] {
    const std::string_view rest = text.substr(begin, end - begin);
    return rest.substr(0, prefix.size()) == prefix || (marks && rest[0] == ' ' && prefix == "\xE2\x96\x81");
  };
  if (rule == PrefixRule::always || (rule == PrefixRule::unless_there && !starts_with_prefix()) ||
      (rule == PrefixRule::first_unless_there && at_start && !starts_with_prefix())) {
    put_prefix();
  }
  std::vector<size_t> barriers;  // in normalized_
  auto barrier = std::lower_bound(target.barriers.begin(), target.barriers.end(), begin);
  const auto barriers_end = std::lower_bound(barrier, target.barriers.end(), end);
  size_t i = begin;
  if (!sources && barrier == barriers_end) {  // whole stretches between spaces
    while (i < end) {
      const void* space = marks ? std::memchr(text.data() + i, ' ', end - i) : nullptr;
      const size_t stop = space != nullptr ? static_cast<size_t>(static_cast<const char*>(space) - text.data()) : end;
      normalized_.append(text, i, stop - i);
      if (stop < end) normalized_ += "\xE2\x96\x81";
      i = stop + 1;
    }
  }
  for (; i < end; ++i) {
    for (; barrier != barriers_end && *barrier == i; ++barrier) {
      barriers.push_back(normalized_.size());
    }
    if (marks && text[i] == ' ') normalized_ += "\xE2\x96\x81";
    else normalized_ += text[i];
    if (sources) source_.resize(normalized_.size(), static_cast<uint32_t>(i));
  }
  if (sources) source_.push_back(static_cast<uint32_t>(end));
  target.buffer = normalized_.data();
  target.readable_end = normalized_.data() + normalized_.size();
  target.sources = &source_;
  split_normalized(normalized_, 0, normalized_.size(), barriers, target);
}

// The second search for added tokens, in text that is normalised.
void Encoder::split_normalized(std::string_view text, size_t begin, size_t end, const std::vector<size_t>& barriers,
                               Target& target) {
  if (model_->normalized_added.empty()) return encode_plain(text.data() + begin, text.data() + end, target);
  inner_segments_.clear();
  model_->normalized_added.split(text, begin, end, allowed(target.options), barriers, inner_segments_);
  for (const Segment& segment : inner_segments_) {
    const char* segment_begin = text.data() + segment.begin;
    const char* segment_end = text.data() + segment.end;
    if (segment.id == no_token) {
      encode_plain(segment_begin, segment_end, target);
      continue;
    }
    target.out.ids.push_back(segment.id);
    if (target.map != nullptr) target.add_offsets(segment_begin, segment_end);
  }
}

void Encoder::encode_plain(const char* begin, const char* end, Target& target) {
  if (target.map == nullptr) return encode_words<false>(begin, end, target);
  return encode_words<true>(begin, end, target);
}

template <bool with_offsets>
void Encoder::encode_words(const char* begin, const char* end, Target& target) {
  // With offsets the cache serves where a token's length is that of its bytes.
  const bool caches = (!with_offsets || model_->every_byte_known) && !dropout_.active();
  model_->splitter.run(begin, end, [&](const char* word, const char* word_end) {
    target.check_cancelled();
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

template <bool with_offsets>
void Encoder::encode_long_cached(const char* word, const char* word_end, Target& target) {
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

// Of the ids from `before` on, whose bytes are those of the text from `word` on.
void Encoder::add_token_offsets(const char* word, size_t before, Target& target) {
  for (size_t i = before; i < target.out.ids.size(); ++i) {
    const char* from = word;
    word += model_->vocab.bytes(target.out.ids[i]).size();
    target.add_offsets(from, word);
  }
}

// The general way: normalizers, the other added tokens, pre-tokenizers, each over text that knows its origins.
void Encoder::encode_generally(std::string_view text, size_t begin, size_t end, Target& target) {
  const TokenizerModel& model = *model_;
  const bool guards = !target.barriers.empty() && !model.normalized_added.empty();
  general_.assign(text.substr(begin, end - begin), begin, target.map != nullptr || guards || model.needs_origins);
  for (const auto& step : model.normalizer) step->run(general_);
  if (model.needs_nfc) compose_text(general_, false);
  target.sources = nullptr;
  if (!model.normalized_added.empty()) {
    std::vector<size_t> barriers;  // in the new text: before the first byte that comes from behind them
    size_t byte = 0;
    auto barrier = std::lower_bound(target.barriers.begin(), target.barriers.end(), begin);
    for (; barrier != target.barriers.end() && *barrier < end; ++barrier) {
      while (byte < general_.text.size() && general_.origins[byte].begin < *barrier) ++byte;
      barriers.push_back(byte);
    }
    inner_segments_.clear();
    model.normalized_added.split(general_.text, 0, general_.text.size(), allowed(target.options), barriers,
                                 inner_segments_);
    for (const Segment& segment : inner_segments_) {
      if (segment.id == no_token) {
        encode_pieces(segment.begin, segment.end, target);
        continue;
      }
      target.out.ids.push_back(segment.id);
      if (target.map == nullptr) continue;
      target.out.offsets.push_back(target.map->start(general_.origins[segment.begin].begin));
      target.out.offsets.push_back(target.map->start(general_.origins[segment.end - 1].end));
    }
  } else if (!general_.text.empty()) {
    encode_pieces(0, general_.text.size(), target);
  }
  target.origins = nullptr;
}

// The pieces of general_, from `begin` to `end`.
void Encoder::encode_pieces(size_t begin, size_t end, Target& target) {
  const TokenizerModel& model = *model_;
  if (model.pre_tokenizer.empty()) {
    target.buffer = general_.text.data();
    target.readable_end = general_.text.data() + general_.text.size();
    target.origins = target.map != nullptr ? &general_.origins : nullptr;
    return encode_plain(general_.text.data() + begin, general_.text.data() + end, target);
  }
  TextBuilder part(general_);
  part.keep(begin, end);
  pieces_.text = part.take();
  pieces_.pieces.assign(1, {0, end - begin});
  for (const auto& step : model.pre_tokenizer) {
    step->run(pieces_);
    pieces_.text.check_growth(pieces_.text.text.size());
  }
  target.buffer = pieces_.text.text.data();
  target.readable_end = target.buffer + pieces_.text.text.size();
  target.origins = target.map != nullptr ? &pieces_.text.origins : nullptr;
  const bool offsets = target.map != nullptr;
  const bool caches = (!offsets || model.every_byte_known) && !dropout_.active();
  for (const Pieces::Piece& piece : pieces_.pieces) {
    const char* word = target.buffer + piece.begin;
    const char* word_end = target.buffer + piece.end;
    if (!caches || word == word_end) encode_word(word, word_end, target);
    else if (offsets) encode_cached<true>(word, word_end, target);
    else encode_cached<false>(word, word_end, target);
    target.check_cancelled();
  }
}

bool Encoder::may_need_nfc(std::string_view text) const {
  const uint8_t* table = unicode::flag_table();
  for (size_t i = 0; i < text.size();) {
    if (text.size() - i >= AsciiBlock::size && AsciiBlock(text.data() + i).high() == 0) {
      i += AsciiBlock::size;
      continue;
    }
    if (static_cast<uint8_t>(text[i]) < 0xCC) {  // below U+0300 nothing composes
      i += static_cast<uint8_t>(text[i]) < 0x80 ? 1 : 2;
      continue;
    }
    int size = 0;
    const uint32_t code = utf::decode(text.data() + i, size);
    if (unicode::flags_of(table, code) & unicode::nfc_unsafe) return true;
    i += size;
  }
  return false;
}

void Encoder::encode_word(const char* begin, const char* end, Target& target) {
  const TokenizerModel& model = *model_;
  const std::string_view word(begin, static_cast<size_t>(end - begin));
  if (model.kind != ModelKind::bpe) return encode_tokens(begin, word.size(), target);
  if (dropout_.active()) {
    initial_symbols(begin, end);
    return encode_symbols(begin, dropout_.run(model.merges, symbols_), target);
  }
  const PairMatcher* matcher = long_piece_matcher(word);
  // A matcher finds a word that is one token by itself.
  const bool asks = model.ignore_merges || (model.every_byte_known && matcher == nullptr);
  const uint32_t whole = asks ? model.vocab.find(word) : no_token;
  if (whole != no_token && (model.ignore_merges || model.whole_tokens.is(whole, WholeTokens::yes))) {
    target.out.ids.push_back(whole);
    if (target.map != nullptr) target.add_offsets(begin, end);
    return;
  }
  if (matcher != nullptr) {
    symbols_.clear();
    matcher->encode(word, target.options.cancelled, matcher_scratch_, symbols_);
    return encode_symbols(begin, symbols_.size(), target);
  }
  size_t count = 0;
  if (model.every_byte_known) {
    symbols_.resize(word.size());
    for (size_t i = 0; i < word.size(); ++i) symbols_[i] = {model.byte_ids[static_cast<uint8_t>(word[i])], 1};
    count = merger_.run_bytes(model.merges, word, symbols_.data());
    if (whole != no_token) model.whole_tokens.set(whole, count == 1 ? WholeTokens::yes : WholeTokens::no);
  } else {
    count = initial_symbols(begin, end);
    count = merger_.run(model.merges, symbols_.data(), count);
  }
  encode_symbols(begin, count, target);
}

// The first `count` of symbols_, which stand for the text from `begin` on.
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

AllowedSpecials Encoder::allowed(const EncodeOptions& options) const {
  if (options.allow_special || options.allowed_ids == nullptr) return options.allow_special;
  return AllowedSpecials(*options.allowed_ids);
}

// What encodes a piece too long for the scanning merge loop; null: the heap does.
const PairMatcher* Encoder::long_piece_matcher(std::string_view piece) const {
  const TokenizerModel& model = *model_;
  if (piece.size() <= WordCache::max_bytes || !model.byte_level) return nullptr;
  const PairMatcher* matcher = model.long_pieces.for_piece(piece.size(), model.merges, model.vocab, model.byte_ids);
  return matcher != nullptr && matcher->covers(piece) ? matcher : nullptr;
}

// A word of a model other than byte pair encoding.
void Encoder::encode_tokens(const char* begin, size_t length, Target& target) {
  const std::string_view word(begin, length);
  switch (model_->kind) {
    case ModelKind::wordpiece: encode_wordpiece(*model_, word, tokens_); break;
    case ModelKind::unigram: unigram_.encode(*model_, word, tokens_); break;
    default: encode_whole_word(*model_, word, tokens_);
  }
  for (const PieceToken& token : tokens_) {
    target.out.ids.push_back(token.id);
    if (target.map != nullptr) target.add_offsets(begin + token.begin, begin + token.end);
  }
}

// Fills symbols_ with the word's bytes (byte-level) or characters and returns how many there are.
size_t Encoder::initial_symbols(const char* begin, const char* end) {
  const TokenizerModel& model = *model_;
  symbols_.clear();
  Symbol unknown{no_token, 0};  // what is unknown and not written yet
  const auto flush = [&] {
    if (unknown.id != no_token) symbols_.push_back(unknown);
    unknown.id = no_token;
  };
  const auto add_unknown = [&](uint32_t length) {
    if (model.unknown == no_token) {  // dropped, as Hugging Face does; a neighbour's offsets take the text in
      if (!symbols_.empty()) symbols_.back().length += length;
    } else if (model.fuse_unknown && unknown.id != no_token) {
      unknown.length += length;
    } else {
      flush();
      unknown = {model.unknown, length};
    }
  };
  if (model.byte_level) {
    for (const char* p = begin; p < end; ++p) {
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
  for (const char* p = begin; p < end;) {
    const int size = utf::sequence_length(*p);
    std::string_view symbol(p, static_cast<size_t>(size));
    if (decorated) {
      name.assign(p > begin ? model.subword_prefix : std::string());
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
      // As in the library, they come before what is unknown and not written yet.
      uint32_t left = static_cast<uint32_t>(size);  // a suffix's bytes stand for nothing of the text
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
