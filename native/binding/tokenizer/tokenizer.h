// Declarations that the files of the tokenizer's binding share.
#pragma once
#include <napi.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "tokenizer/encoder.h"
#include "tokenizer/vocabulary/vocabulary_texts.h"

namespace heddle {

constexpr uint32_t flag_add_special = 1, flag_allow_special = 2, flag_offsets = 4, flag_byte_offsets = 8,
                   flag_no_prefix = 16;

uint32_t to_uint32(const Napi::Value& value, const char* name);
EncodeOptions to_options(uint32_t flags);

// Options of encode other than flags: { allowed?: Uint32Array, dropout?: number, seed?: number, most?: number,
// barriers?: Uint32Array }, or undefined.
struct EncodeExtras {
  std::vector<uint32_t> allowed;
  bool has_allowed = false;
  double dropout = 0;
  uint64_t seed = 0;
  size_t most = SIZE_MAX;                    // encoding stops soon after this number of ids
  std::vector<uint32_t> barriers;            // see Encoder::encode
  void apply(EncodeOptions& options) const;  // `options` then points into this object
};
EncodeExtras to_extras(const Napi::Value& value);
struct TokenizerSpec;
TokenizerSpec to_spec(const Napi::Value& value);
std::string to_utf8(const Napi::Value& value, const char* name);  // undefined: empty
std::vector<StepSpec> to_steps(const Napi::Value& value);         // empty if not an array
std::vector<SplitStage> to_stages(const Napi::Value& value);      // three numbers per stage
void read_utf16(const Napi::Value& value, const char* name, std::u16string& out);
std::u16string to_utf16(const Napi::Value& value, const char* name);           // undefined: empty
std::vector<uint32_t> to_uint32s(const Napi::Value& value, const char* name);  // undefined or null: empty
Napi::Value to_array(Napi::Env env, const IdBuffer& numbers);
Napi::Value to_array(Napi::Env env, const std::vector<uint32_t>& numbers);
Napi::Value to_string(Napi::Env env, std::string_view utf8);
// Splits `utf8` into strings of these lengths in bytes.
Napi::Value to_strings(Napi::Env env, std::string_view utf8, const IdBuffer& lengths);
Error string_too_long(Napi::Env env, size_t bytes);  // clears the pending exception

// Unwraps an object from readJsonVocabulary, or returns null for undefined. Throws INVALID_ARGUMENT for other values.
std::shared_ptr<const FileVocabulary> to_file_vocabulary(const Napi::Value& value);
std::shared_ptr<const VocabularyTexts> texts_of(const std::shared_ptr<const FileVocabulary>& vocabulary);
// Makes a NativeJsonVocabulary share `vocabulary`, which must equal its own, so that memory holds only one copy.
void share_file_vocabulary(const Napi::Value& value, const std::shared_ptr<const FileVocabulary>& vocabulary);

class Workspaces;
struct TokenizerParts {
  std::shared_ptr<const TokenizerModel> model;
  std::shared_ptr<Workspaces> workspaces;
};
// Unwraps a NativeTokenizer. Throws INVALID_ARGUMENT for other values.
TokenizerParts parts_of(const Napi::Value& tokenizer);
// See NativeTokenizer.decodeBatch.
Napi::Value start_decode_batch(const Napi::CallbackInfo& info, std::shared_ptr<const TokenizerModel> model);

}  // namespace heddle
