// Vocabularies of GGUF files and SentencePiece models. They are lists, and a token's id is its index.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tokenizer/vocabulary/file_vocabulary.h"
#include "tokenizer/vocabulary/string_list.h"

namespace heddle {

struct ListedVocabulary {
  std::shared_ptr<const StringList> tokens;
  std::shared_ptr<const StringList> merges;  // "left right"; null: none
  std::vector<uint8_t> types;                // SentencePiece's types, one per token
  std::vector<double> scores;                // one per token, or empty
  bool merges_by_score = false;
  // WordPiece as in GGUF: tokens that begin a word have the prefix U+2581, and tokens that continue one have none.
  bool word_marks = false;
  std::string where;  // name of the tokens in error messages
  std::string merges_where;
};

// Throws INVALID_FILE for a token that is too long, a malformed merge, or a wrong number of types or scores.
std::unique_ptr<const FileVocabulary> make_listed_vocabulary(ListedVocabulary listed);

}  // namespace heddle
