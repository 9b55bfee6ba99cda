// A tokenizer.json's vocabulary in a form that is read without searching: what the file says, with each merge's tokens
// by number.
//
// The file, little-endian: "heddle.v", version, zero; size and hash of the source; size and hash of what follows; then
// counts of tokens, of their bytes, of merges and of the rest's bytes; lengths and ids of tokens, three numbers a
// merge, tokens, rest.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "tokenizer/vocabulary/json_vocabulary.h"

namespace heddle {

// Returns an empty string if a merge refers to a missing token, as in vocabularies whose merges omit a prefix.
std::string compile_vocabulary(const JsonVocabulary& vocabulary, std::string_view source);

// Null for anything but what compile_vocabulary made of this very source: another version, another source, bytes
// missing or changed. The hashes are against accidents; of a file made to deceive, every number is checked, and it says
// nothing that a tokenizer.json could not say.
std::unique_ptr<const JsonVocabulary> read_compiled_vocabulary(std::string_view file, std::string_view source);

// The file around a body, for what tests make by hand.
std::string seal_compiled_body(std::string_view body, std::string_view source);

}  // namespace heddle
