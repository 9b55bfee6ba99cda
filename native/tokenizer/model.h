// Everything about a tokenizer that does not change after loading, shared by all threads.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "tokenizer/added_tokens.h"
#include "tokenizer/pair_matcher.h"
#include "tokenizer/splitter.h"
#include "tokenizer/vocab.h"

namespace heddle {

// When a text segment gets the prefix in front.
enum class PrefixRule : uint8_t {
  never = 0,
  always = 1,             // the Prepend normalizer
  unless_there = 2,       // Metaspace "always", ByteLevel add_prefix_space: not if it already starts with it
  first_unless_there = 3  // Metaspace "first": only at the very start of the text
};

// How ids become text.
enum class DecodeKind : uint8_t {
  bytes = 0,         // byte-level: the tokens' bytes; malformed parts become U+FFFD
  byte_fallback = 1  // SentencePiece: text, with runs of <0xXX> tokens that must be well-formed as a whole
};

struct TokenizerModel {
  Vocab vocab;  // byte-level tokens hold the bytes they stand for
  MergeTable merges;
  bool byte_level = true;  // symbols start as bytes, else as characters
  bool ignore_merges = false;
  bool byte_fallback = false;
  bool fuse_unknown = false;
  uint32_t unknown = no_token;
  uint32_t byte_ids[256];  // token of each byte; no_token if absent
  LongPieces long_pieces;  // of byte-level models

  bool needs_nfc = false;        // text that may not be in NFC is refused: the caller normalises it
  bool spaces_to_marks = false;  // U+0020 becomes U+2581 before added tokens with `normalized` are looked for
  std::string prefix;            // UTF-8
  PrefixRule prefix_rule = PrefixRule::never;

  AddedTokenMatcher raw_added{{}};         // looked for in the text as it is
  AddedTokenMatcher normalized_added{{}};  // looked for after normalisation
  Splitter splitter{{}};
  std::vector<uint32_t> begin_ids, end_ids;  // what the post-processor adds

  DecodeKind decode_kind = DecodeKind::bytes;
  bool strip_first_space = false;   // of the decoded text
  std::vector<uint8_t> is_special;  // by id
  std::vector<int16_t> byte_value;  // by id: the byte that a <0xXX> token stands for, else -1 (byte_fallback only)
  Vocab text;                       // by id: what it decodes to
};

}  // namespace heddle
