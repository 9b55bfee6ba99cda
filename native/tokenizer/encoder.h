// Text to ids. One Encoder per thread: it owns scratch memory and the word cache; the model is shared.
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tokenizer/merger.h"
#include "tokenizer/model.h"
#include "tokenizer/word_cache.h"

namespace heddle {

struct EncodeOptions {
  bool add_special = true;    // the ids that the post-processor adds
  bool allow_special = true;  // special tokens' text is recognised
  bool offsets = false;
  const std::atomic<bool>* cancelled = nullptr;  // Error ABORTED soon after it is set
};

struct Encoding {
  std::vector<uint32_t> ids;
  std::vector<uint32_t> offsets;  // two a token, UTF-16 units of the text: begin, end; both 0 for added BOS and EOS
};

// A stretch of text that the caller has already cut out; see Encoder::encode_segments.
struct TextSegment {
  uint32_t end;  // UTF-16 offset; it begins where the one before ends
  uint32_t kind;
  static constexpr uint32_t text = UINT32_MAX;       // to be pre-tokenised here
  static constexpr uint32_t piece = UINT32_MAX - 1;  // a piece already: only merges are left
};

class Encoder {
 public:
  explicit Encoder(std::shared_ptr<const TokenizerModel> model) : model_(std::move(model)) {}

  // `barriers`: ascending UTF-16 offsets that no guarded added token may span.
  // Returns false, with `out` unspecified, if the text has to be normalised first (TokenizerModel::needs_nfc).
  bool encode(const char16_t* text, size_t length, const EncodeOptions& options,
              const std::vector<uint32_t>& barriers, Encoding& out);

  // The same from the pre-tokenisation on, for text the caller has normalised and split at added tokens; a segment's
  // kind is otherwise an added token's id. Throws INVALID_ARGUMENT for segments that do not add up to the text.
  void encode_segments(const char16_t* text, size_t length, const std::vector<TextSegment>& segments,
                       const EncodeOptions& options, Encoding& out);

  // Segments of text at added tokens: (begin, end, id or no_token) in UTF-16 units.
  // `normalized` chooses the second set of added tokens.
  std::vector<uint32_t> split_added(const char16_t* text, size_t length, bool normalized, bool allow_special,
                                    const std::vector<uint32_t>& barriers);

 private:
  struct Target;  // where the ids and offsets of one call go
  void encode_text(std::string_view text, size_t begin, size_t end, bool at_start, Target& target);
  void split_normalized(std::string_view text, size_t begin, size_t end, const std::vector<size_t>& barriers,
                        Target& target);
  void encode_plain(const char* begin, const char* end, Target& target);
  void encode_word(const char* begin, const char* end, Target& target);
  size_t initial_symbols(const char* begin, const char* end);
  const PairMatcher* long_piece_matcher(std::string_view piece) const;
  bool may_need_nfc(std::string_view text) const;

  std::shared_ptr<const TokenizerModel> model_;
  WordCache cache_;
  Merger merger_;
  std::string utf8_;        // the whole text
  std::string normalized_;  // one segment, with prefix and U+2581
  std::vector<uint32_t> source_;  // for each byte of normalized_: the byte of utf8_ it comes from (offsets only)
  std::vector<Symbol> symbols_;
  std::vector<Segment> raw_segments_, inner_segments_;
};

}  // namespace heddle
