// A compiled form of a tokenizer.json's vocabulary that is read without lookups. It has the content of
// tokenizer.json, with the tokens of each merge by index.
//
// The compiled file, little-endian: "heddle.v", version, zero; size and hash of the source; size and hash of the body.
// The body: counts of tokens, of their bytes, of merges and of the bytes of FileVocabulary::rest; lengths and ids of
// tokens; three indices per merge; tokens; FileVocabulary::rest.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "tokenizer/vocabulary/file_vocabulary.h"

namespace heddle {

// Returns the compiled file. Returns an empty string if the vocabulary is compiled already, or if the joined parts of a
// merge are not a token. They are not if merges drop the right part's prefix ("##").
std::string compile_vocabulary(const FileVocabulary& vocabulary, std::string_view source);

// Returns null if compile_vocabulary of this version did not write the file for this source, or if its bytes are
// incomplete or changed. The hashes detect accidents, not attacks. Every number is therefore checked, and a forged file
// can contain nothing that a tokenizer.json could not.
std::unique_ptr<const FileVocabulary> read_compiled_vocabulary(std::string_view file, std::string_view source);

// Adds the header to a body. Tests use it for hand-made bodies.
std::string seal_compiled_body(std::string_view body, std::string_view source);

}  // namespace heddle
