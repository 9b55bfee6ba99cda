// Builds a TokenizerModel from what lib/tokenizer has read from a file.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/models/model.h"
#include "tokenizer/vocabulary/vocabulary_texts.h"

namespace heddle {

struct FileVocabulary;

// Maximum length of tokens for Unigram and WordPiece, which is also the limit for added tokens and trained pieces.
constexpr uint32_t max_matched_characters = 1024;

struct SpecAddedToken {
  std::u16string content;
  uint32_t id = 0;
  bool single_word = false, lstrip = false, rstrip = false, special = false, guarded = false, normalized = false;
};

struct TokenizerSpec {
  std::shared_ptr<const VocabularyTexts> texts = std::make_shared<const VocabularyTexts>();
  std::shared_ptr<const FileVocabulary> vocabulary;  // owner of `texts`, or null
  std::vector<SpecAddedToken> added;
  std::vector<SplitStage> stages;
  std::vector<StepSpec> normalizer, pre_tokenizer, decoder;
  bool uses_normalizer = false;  // if false, the steps only normalize the content of added tokens
  ModelKind kind = ModelKind::bpe;
  std::string subword_prefix, word_suffix;
  uint32_t max_word_characters = 100;
  bool single_precision = false;  // Unigram sums scores in float
  std::vector<uint32_t> hidden;   // ids that encoding never produces; not used by BPE
  std::vector<uint32_t> begin_ids, end_ids;
  bool byte_level = true, ignore_merges = false, byte_fallback = false, fuse_unknown = false;
  bool needs_nfc = false, spaces_to_marks = false, strip_first_space = false;
  bool whole_text_is_word = false;  // no pre-tokenizer; the builder adds splits before U+2581 if no merge crosses them
  uint32_t unknown = no_token;
  std::u16string prefix;
  PrefixRule prefix_rule = PrefixRule::never;
  DecodeKind decode_kind = DecodeKind::bytes;
};

// Throws INVALID_FILE if the parts are inconsistent, and for tokens longer than max_matched_characters.
std::shared_ptr<const TokenizerModel> build_tokenizer(const TokenizerSpec& spec);

}  // namespace heddle
