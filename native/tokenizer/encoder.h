// Encodes text to ids. Use one Encoder per thread: it owns scratch memory and the word cache. The model is shared.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/cancellation.h"
#include "tokenizer/buffers.h"
#include "tokenizer/models/merge_dropout.h"
#include "tokenizer/models/merger.h"
#include "tokenizer/models/model.h"
#include "tokenizer/regex/regex.h"
#include "tokenizer/models/word_cache.h"
#include "tokenizer/models/word_models.h"

namespace heddle {

struct EncodeOptions {
  bool add_special = true;    // adds the ids of the post-processor
  bool allow_special = true;  // recognizes the text of special tokens
  // Adds the prefix (U+2581 or a space) that the tokenizer puts before a text. False if the text continues another one.
  bool add_prefix = true;
  // Without allow_special: ids of the special tokens that are recognized.
  const std::vector<uint32_t>* allowed_ids = nullptr;
  bool offsets = false;
  bool byte_offsets = false;  // offsets in bytes of the text's UTF-8 instead of UTF-16 units
  double dropout = 0;         // BPE: probability of skipping a merge, below 1
  uint64_t seed = 0;          // seed of the dropout
  // Encoding stops soon after this number of ids, and then omits the special tokens at the end.
  size_t most_ids = SIZE_MAX;
  Cancellation cancellation;  // once requested, encode() soon throws ABORTED
};

struct Encoding {
  IdBuffer ids;
  IdBuffer offsets;  // begin and end of each token, in UTF-16 units or bytes of the text; 0 for added BOS and EOS
};

class Encoder {
 public:
  explicit Encoder(std::shared_ptr<const TokenizerModel> model) : model_(std::move(model)) {}

  // Appends the ids and offsets of a text to `out`. `barriers`: ascending UTF-16 offsets. No guarded token
  // (AddedToken::guarded) may span one of them, or end at one.
  void encode(const char16_t* text, size_t length, const EncodeOptions& options, const std::vector<uint32_t>& barriers,
      Encoding& out);

 private:
  struct Target;  // output of one call
  void encode_all(std::string_view utf8, Target& target);
  void encode_text(std::string_view text, size_t begin, size_t end, bool at_start, Target& target);
  void split_normalized(
      std::string_view text, size_t begin, size_t end, const std::vector<size_t>& barriers, Target& target);
  void encode_generally(std::string_view text, size_t begin, size_t end, Target& target);
  std::vector<size_t> normalized_barriers(std::string_view text, const std::vector<size_t>& given) const;
  void encode_pieces(size_t begin, size_t end, Target& target);
  void encode_plain(const char* begin, const char* end, Target& target);
  template <bool with_offsets> void encode_words(const char* begin, const char* end, Target& target);
  template <bool with_offsets> void encode_cached(const char* word, const char* word_end, Target& target);
  template <bool with_offsets> void encode_long_cached(const char* word, const char* word_end, Target& target);
  void add_token_offsets(const char* word, size_t before, Target& target);
  void encode_word(const char* begin, const char* end, Target& target);
  void encode_tokens(const char* begin, size_t length, Target& target);
  void encode_symbols(const char* begin, size_t count, Target& target);
  size_t initial_symbols(const char*& begin, const char* end, const Target& target);
  AllowedSpecials allowed(const EncodeOptions& options) const;
  const PairMatcher* long_piece_matcher(std::string_view piece) const;
  bool may_need_nfc(std::string_view text) const;

  std::shared_ptr<const TokenizerModel> model_;
  WordCache cache_;
  Merger merger_;
  MergeDropout dropout_;
  PairMatcher::Scratch matcher_scratch_;
  Utf8Buffer utf8_;               // the whole text
  std::string normalized_;        // one segment, with prefix and U+2581
  std::vector<uint32_t> source_;  // for each byte of normalized_: its byte in utf8_ (with offsets only)
  RegexBudget regex_budget_{0};   // for the current text
  NormalizedText general_;
  Pieces pieces_;
  UnigramEncoder unigram_;
  std::vector<PieceToken> tokens_;
  std::vector<Symbol> symbols_;
  std::vector<TextSegment> raw_segments_, inner_segments_;
};

}  // namespace heddle
