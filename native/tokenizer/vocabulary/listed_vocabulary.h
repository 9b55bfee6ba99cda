// Vocabularies that are lists, a token's id being its place: those of GGUF files and of SentencePiece's models.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tokenizer/vocabulary/json_vocabulary.h"
#include "tokenizer/vocabulary/string_list.h"

namespace heddle {

struct ListedVocabulary {
  std::shared_ptr<const StringList> tokens;
  std::shared_ptr<const StringList> merges;  // "left right"; null: none
  std::vector<uint8_t> types;                // SentencePiece's, one a token
  std::vector<double> scores;                // one a token, or none
  bool merges_by_score = false;
  // WordPiece as GGUF has it: U+2581 before what begins a word, nothing before what goes on in one
  bool word_marks = false;
  std::string where;  // what messages call the tokens
  std::string merges_where;
};

// Throws INVALID_FILE.
std::unique_ptr<const JsonVocabulary> make_listed_vocabulary(ListedVocabulary listed);

}  // namespace heddle
