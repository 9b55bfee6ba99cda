// The immutable data of a tokenizer after loading, shared by all threads.
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
#include "tokenizer/vocabulary/text_table.h"
#include "tokenizer/vocabulary/vocab.h"

namespace heddle {

struct FileVocabulary;

// How a piece of text is converted to tokens.
enum class ModelKind : uint8_t { bpe = 0, wordpiece = 1, unigram = 2, word_level = 3 };

// When a text segment gets the prefix.
enum class PrefixRule : uint8_t {
  never = 0,
  always = 1,             // the Prepend normalizer
  unless_there = 2,       // Metaspace "always", ByteLevel add_prefix_space: unless it already starts with the prefix
  first_unless_there = 3  // Metaspace "first": only at the very start of the text
};

// How ids are converted to text.
enum class DecodeKind : uint8_t {
  bytes = 0,          // byte-level: the bytes of the tokens; malformed parts become U+FFFD
  byte_fallback = 1,  // SentencePiece: text, and runs of <0xXX> tokens, which must be well-formed as a whole
  steps = 2           // runs decoder_steps
};

// Caches whether merging a token's bytes gives that token, as it does for most tokens. A word that is such a token is
// encoded without merging. Threads may race to store a value, because all compute the same one.
class WholeTokens {
 public:
  enum State : uint8_t { unknown, yes, no };
  void resize(size_t count) { states_.reset(new std::atomic<uint8_t>[count]()); }
  bool is(uint32_t id, State state) const { return states_[id].load(std::memory_order_relaxed) == state; }
  void set(uint32_t id, State state) const { states_[id].store(state, std::memory_order_relaxed); }

 private:
  std::unique_ptr<std::atomic<uint8_t>[]> states_;
};

// The decoded text of tokens, with short texts inline. Readers always copy a block of sixteen bytes, because copies of
// fixed size are faster. The next text overwrites the excess.
class TokenTexts {
 public:
  static constexpr size_t block = 16, most = block - 1;
  struct Text {
    char bytes[most];
    uint8_t length;  // above `most`: the text is in the table
  };
  explicit TokenTexts(const TextTable& table);
  const Text& operator[](uint32_t id) const { return texts_[id]; }
  const Text* data() const { return texts_.data(); }
  uint32_t size() const { return static_cast<uint32_t>(texts_.size()); }
  const TextTable& table() const { return table_; }

 private:
  const TextTable& table_;
  std::vector<Text> texts_;
};

// WordPiece: the tokens that continue a word, without their prefix ("##").
struct ContinuingTokens {
  std::vector<uint32_t> ids, lengths;  // in the order of the contents of `starts`
  std::unique_ptr<const LongestStarts> starts;
};

struct TokenizerModel {
  ModelKind kind = ModelKind::bpe;
  // The vocabulary that the model was built from. `vocab` and `scores` refer to its memory. Null if lib/tokenizer read
  // the vocabulary itself.
  std::shared_ptr<const FileVocabulary> vocabulary;
  Vocab vocab;  // byte-level tokens are stored as raw bytes
  MergeTable merges;
  bool byte_level = true;  // symbols are initially bytes; otherwise characters
  bool ignore_merges = false;
  bool byte_fallback = false;
  bool fuse_unknown = false;
  uint32_t unknown = no_token;
  uint32_t byte_ids[256];  // token of each byte; no_token if missing
  // Whether the model is byte-level and has a token for each byte. The bytes of a word's tokens are then exactly those
  // of the word.
  bool every_byte_known = false;
  WholeTokens whole_tokens;  // filled if every_byte_known
  LongPieces long_pieces;    // for byte-level models

  // BPE: the prefix of a word's characters after the first, and the suffix of its last character.
  std::string subword_prefix, word_suffix;

  Trie trie;                         // for WordPiece and Unigram
  uint32_t continuing = Trie::none;  // WordPiece: the node of the prefix of tokens that continue a word
  uint32_t max_word_characters = 0;  // WordPiece: longer words are unknown
  const double* scores = nullptr;    // Unigram: by id, in `own_scores` or the vocabulary's texts
  std::vector<double> own_scores;
  double unknown_score = 0;
  // Scores are summed in float, like SentencePiece's library does, so that rounding breaks ties in the same way.
  bool single_precision = false;

  // Arbitrary normalizers and pre-tokenizers. Empty if the fields below describe all steps.
  Normalizer normalizer;
  PreTokenizer pre_tokenizer;
  bool needs_origins = false;           // a pre-tokenizer step reads the origins of bytes
  bool normalizer_keeps_ascii = false;  // no step changes ASCII text

  bool needs_nfc = false;
  bool spaces_to_marks = false;  // U+0020 becomes U+2581 before the search for added tokens with `normalized`
  std::string prefix;            // UTF-8
  PrefixRule prefix_rule = PrefixRule::never;

  AddedTokenMatcher raw_added{{}};         // searched for in the raw text
  AddedTokenMatcher normalized_added{{}};  // searched for in normalized text
  GuardCharacters guard;                   // for the guarded tokens of normalized_added
  Splitter splitter{{}};
  std::vector<uint32_t> begin_ids, end_ids;  // ids that the post-processor adds

  DecodeKind decode_kind = DecodeKind::bytes;
  DecoderPipeline decoder_steps;     // each decoder copies it
  TextTable names{vocab};            // DecodeKind::steps: tokens as written in the file
  bool strip_first_space = false;    // removes the first space of the decoded text
  std::vector<uint8_t> is_special;   // by id
  std::vector<int16_t> byte_values;  // by id, up to the last <0xXX> token (byte_fallback only)
  // Returns the byte of a <0xXX> token, otherwise -1.
  int byte_of(uint32_t id) const { return id < byte_values.size() ? byte_values[id] : -1; }
  TextTable texts{vocab};  // decoded text
  // Built on first use:
  const TokenTexts& token_texts() const;  // of `texts`
  const TokenEnds& token_ends() const;    // of the trie
  const ContinuingTokens& continuing_tokens() const;
  const uint64_t number = next_number();  // unique among the models of a process

 private:
  static uint64_t next_number();
  mutable std::once_flag texts_once_, ends_once_, continuing_once_;
  mutable std::unique_ptr<const TokenTexts> texts_;
  mutable std::unique_ptr<const TokenEnds> ends_;
  mutable std::unique_ptr<const ContinuingTokens> continuing_;
};

}  // namespace heddle
