// Everything about a tokenizer that does not change after loading, shared by all threads.
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "tokenizer/vocabulary/added_tokens.h"
#include "tokenizer/decode/decoder_steps.h"
#include "tokenizer/text/guard_characters.h"
#include "tokenizer/models/longest_starts.h"
#include "tokenizer/text/normalizer.h"
#include "tokenizer/models/pair_matcher.h"
#include "tokenizer/split/pre_tokenizer.h"
#include "tokenizer/split/splitter.h"
#include "tokenizer/models/token_ends.h"
#include "tokenizer/models/trie.h"
#include "tokenizer/vocabulary/vocab.h"

namespace heddle {

struct JsonVocabulary;

// How a piece of text becomes tokens.
enum class ModelKind : uint8_t { bpe = 0, wordpiece = 1, unigram = 2, word_level = 3 };

// When a text segment gets the prefix in front.
enum class PrefixRule : uint8_t {
  never = 0,
  always = 1,             // the Prepend normalizer
  unless_there = 2,       // Metaspace "always", ByteLevel add_prefix_space: not if it already starts with it
  first_unless_there = 3  // Metaspace "first": only at the very start of the text
};

// How ids become text.
enum class DecodeKind : uint8_t {
  bytes = 0,          // byte-level: the tokens' bytes; malformed parts become U+FFFD
  byte_fallback = 1,  // SentencePiece: text, with runs of <0xXX> tokens that must be well-formed as a whole
  steps = 2           // by decoder_steps
};

// Caches whether merging a token's bytes yields that token, as for most tokens. Words that are such tokens need no
// merging. The value is deterministic, so threads may race.
class WholeTokens {
 public:
  enum State : uint8_t { unknown, yes, no };
  void resize(size_t count) { states_.reset(new std::atomic<uint8_t>[count]()); }
  bool is(uint32_t id, State state) const { return states_[id].load(std::memory_order_relaxed) == state; }
  void set(uint32_t id, State state) const { states_[id].store(state, std::memory_order_relaxed); }

 private:
  std::unique_ptr<std::atomic<uint8_t>[]> states_;
};

// The decoded text of tokens, with short ones inline. Sixteen bytes are copied for each, and the excess is overwritten.
class TokenTexts {
 public:
  static constexpr size_t block = 16, most = block - 1;
  struct Text {
    char bytes[most];
    uint8_t length;  // above `most`: in the vocabulary
  };
  explicit TokenTexts(const Vocab& vocab);
  const Text& operator[](uint32_t id) const { return texts_[id]; }
  const Text* data() const { return texts_.data(); }
  uint32_t size() const { return static_cast<uint32_t>(texts_.size()); }
  const Vocab& vocab() const { return vocab_; }

 private:
  const Vocab& vocab_;
  std::vector<Text> texts_;
};

// WordPiece: the tokens of a word's later parts, without the prefix.
struct ContinuingTokens {
  std::vector<uint32_t> ids, lengths;  // by the number that `starts` gives
  std::unique_ptr<const LongestStarts> starts;
};

struct TokenizerModel {
  ModelKind kind = ModelKind::bpe;
  // what it was made of, for all tokenizers that share it; null: other files
  std::shared_ptr<const JsonVocabulary> vocabulary;
  Vocab vocab;  // byte-level tokens are stored as raw bytes
  MergeTable merges;
  bool byte_level = true;  // symbols start as bytes, else as characters
  bool ignore_merges = false;
  bool byte_fallback = false;
  bool fuse_unknown = false;
  uint32_t unknown = no_token;
  uint32_t byte_ids[256];  // token of each byte; no_token if absent
  // byte-level, and each byte has a token: then a word's tokens have the lengths of their bytes
  bool every_byte_known = false;
  WholeTokens whole_tokens;  // where every_byte_known
  LongPieces long_pieces;    // of byte-level models

  // For BPE: the prefix of a word's later characters, and the suffix of its last one.
  std::string subword_prefix, word_suffix;

  Trie trie;                         // of WordPiece and Unigram
  uint32_t continuing = Trie::none;  // WordPiece: the node of the prefix of a word's later tokens
  uint32_t max_word_characters = 0;  // WordPiece: longer words are unknown
  std::vector<double> scores;        // Unigram: by id
  double unknown_score = 0;
  // scores are summed as SentencePiece's library does: equal sums in another order then differ alike
  bool single_precision = false;

  // The general way from text to pieces; both empty where the fields below say it all.
  Normalizer normalizer;
  PreTokenizer pre_tokenizer;
  bool needs_origins = false;           // of the pre-tokenizer
  bool normalizer_keeps_ascii = false;  // no step changes a text of ASCII

  bool needs_nfc = false;
  bool spaces_to_marks = false;  // U+0020 becomes U+2581 before added tokens with `normalized` are looked for
  std::string prefix;            // UTF-8
  PrefixRule prefix_rule = PrefixRule::never;

  AddedTokenMatcher raw_added{{}};         // looked for in the text as it is
  AddedTokenMatcher normalized_added{{}};  // looked for after normalisation
  GuardCharacters guard;                   // of the guarded tokens among the latter
  Splitter splitter{{}};
  std::vector<uint32_t> begin_ids, end_ids;  // what the post-processor adds

  DecodeKind decode_kind = DecodeKind::bytes;
  DecoderPipeline decoder_steps;    // copied for each text
  Vocab names;                      // DecodeKind::steps: tokens as they are written, by id
  bool strip_first_space = false;   // of the decoded text
  std::vector<uint8_t> is_special;  // by id
  std::vector<int16_t> byte_value;  // by id: the byte of a <0xXX> token, else -1 (byte_fallback only)
  std::unique_ptr<Vocab> own_text;  // where it is not what `vocab` says:
  const Vocab& text() const { return own_text != nullptr ? *own_text : vocab; }  // by id: what it decodes to
  // Made when first asked for:
  const TokenTexts& token_texts() const;  // of text()
  const TokenEnds& token_ends() const;    // of the trie
  const ContinuingTokens& continuing_tokens() const;
  const uint64_t number = next_number();  // no two models of a process have the same

 private:
  static uint64_t next_number();
  mutable std::once_flag texts_once_, ends_once_, continuing_once_;
  mutable std::unique_ptr<const TokenTexts> texts_;
  mutable std::unique_ptr<const TokenEnds> ends_;
  mutable std::unique_ptr<const ContinuingTokens> continuing_;
};

}  // namespace heddle
