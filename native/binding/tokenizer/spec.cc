// Reads the specification of a tokenizer from JavaScript (NativeTokenizerSpec in lib/binding/tokenizer.ts).
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "binding/tokenizer/tokenizer.h"
#include "core/error.h"
#include "tokenizer/models/model_builder.h"

namespace heddle {
namespace {

uint32_t uint_field(const Napi::Object& spec, const char* name, uint32_t fallback) {
  const Napi::Value value = spec.Get(name);
  return value.IsNumber() ? value.As<Napi::Number>().Uint32Value() : fallback;
}

bool bool_field(const Napi::Object& spec, const char* name) {
  const Napi::Value value = spec.Get(name);
  return value.IsBoolean() && value.As<Napi::Boolean>().Value();
}

std::vector<SpecAddedToken> to_added(const Napi::Value& value) {
  std::vector<SpecAddedToken> tokens;
  if (!value.IsArray()) return tokens;
  const Napi::Array array = value.As<Napi::Array>();
  for (uint32_t i = 0; i < array.Length(); ++i) {
    const Napi::Object object = array.Get(i).As<Napi::Object>();
    SpecAddedToken token;
    token.content = to_utf16(object.Get("content"), "added_tokens");
    token.id = uint_field(object, "id", 0);
    token.single_word = bool_field(object, "singleWord");
    token.lstrip = bool_field(object, "lstrip");
    token.rstrip = bool_field(object, "rstrip");
    token.special = bool_field(object, "special");
    token.guarded = bool_field(object, "guarded");
    token.normalized = bool_field(object, "normalized");
    tokens.push_back(std::move(token));
  }
  return tokens;
}

std::vector<double> to_doubles(const Napi::Value& value) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_float64_array) return {};
  const auto numbers = value.As<Napi::Float64Array>();
  return {numbers.Data(), numbers.Data() + numbers.ElementLength()};
}

// Reads the vocabulary: either `vocabulary`, an object from readJsonVocabulary, or the texts of tokens and merges.
void read_texts(const Napi::Object& object, TokenizerSpec& spec) {
  spec.vocabulary = to_file_vocabulary(object.Get("vocabulary"));
  if (spec.vocabulary != nullptr) {
    spec.texts = texts_of(spec.vocabulary);
    return;
  }
  const std::u16string tokens = to_utf16(object.Get("tokens"), "tokens"),
                       merges = to_utf16(object.Get("merges"), "merges");
  VocabularyTexts texts = to_vocabulary_texts(tokens, to_uint32s(object.Get("tokenLengths"), "tokenLengths"),
      to_uint32s(object.Get("tokenIds"), "tokenIds"), merges, to_uint32s(object.Get("mergeLengths"), "mergeLengths"));
  texts.merge_ranks = to_uint32s(object.Get("mergeRanks"), "mergeRanks");
  texts.scores = to_doubles(object.Get("scores"));
  spec.texts = std::make_shared<const VocabularyTexts>(std::move(texts));
}

}  // namespace

std::vector<StepSpec> to_steps(const Napi::Value& value) {
  std::vector<StepSpec> steps;
  if (!value.IsArray()) return steps;
  const Napi::Array array = value.As<Napi::Array>();
  for (uint32_t i = 0; i < array.Length(); ++i) {
    const Napi::Object object = array.Get(i).As<Napi::Object>();
    StepSpec step;
    step.type = to_utf8(object.Get("type"), "type");
    step.pattern = to_utf8(object.Get("pattern"), "pattern");
    step.is_regex = bool_field(object, "isRegex");
    step.content = to_utf8(object.Get("content"), "content");
    const Napi::Value bytes = object.Get("bytes");
    if (bytes.IsTypedArray() && bytes.As<Napi::TypedArray>().TypedArrayType() == napi_uint8_array) {
      const auto data = bytes.As<Napi::Uint8Array>();
      step.bytes.assign(reinterpret_cast<const char*>(data.Data()), data.ElementLength());
    }
    step.longest = bool_field(object, "longest");
    step.left = bool_field(object, "left");
    step.right = bool_field(object, "right");
    step.clean = bool_field(object, "clean");
    step.chinese = bool_field(object, "chinese");
    step.accents = bool_field(object, "accents");
    step.lower = bool_field(object, "lower");
    step.invert = bool_field(object, "invert");
    step.each = bool_field(object, "each");
    step.prefix = bool_field(object, "prefix");
    step.cuts = bool_field(object, "cuts");
    step.number = uint_field(object, "number", 0);
    step.max_digits = uint_field(object, "maxDigits", 0);
    step.contractions = bool_field(object, "contractions");
    steps.push_back(std::move(step));
  }
  return steps;
}

std::vector<SplitStage> to_stages(const Napi::Value& value) {
  std::vector<SplitStage> stages;
  const std::vector<uint32_t> numbers = to_uint32s(value, "stages");
  for (size_t i = 0; i + 2 < numbers.size(); i += 3) {
    stages.push_back({static_cast<SplitKind>(numbers[i]), static_cast<uint8_t>(numbers[i + 1]), numbers[i + 2] != 0});
  }
  return stages;
}

TokenizerSpec to_spec(const Napi::Value& value) {
  if (!value.IsObject()) throw invalid_argument("spec: expected an object, got something else");
  const Napi::Object object = value.As<Napi::Object>();
  TokenizerSpec spec;
  read_texts(object, spec);
  spec.added = to_added(object.Get("added"));
  spec.stages = to_stages(object.Get("stages"));
  spec.normalizer = to_steps(object.Get("normalizer"));
  spec.pre_tokenizer = to_steps(object.Get("preTokenizer"));
  spec.decoder = to_steps(object.Get("decoder"));
  spec.uses_normalizer = bool_field(object, "usesNormalizer");
  const uint32_t kind = uint_field(object, "kind", 0);
  if (kind > static_cast<uint32_t>(ModelKind::word_level))
    throw invalid_argument("kind: expected a model kind, got " + std::to_string(kind));
  spec.kind = static_cast<ModelKind>(kind);
  spec.subword_prefix = to_utf8(object.Get("subwordPrefix"), "subwordPrefix");
  spec.word_suffix = to_utf8(object.Get("wordSuffix"), "wordSuffix");
  spec.max_word_characters = uint_field(object, "maxWordCharacters", 100);
  spec.single_precision = bool_field(object, "singlePrecision");
  spec.hidden = to_uint32s(object.Get("hidden"), "hidden");
  spec.begin_ids = to_uint32s(object.Get("beginIds"), "beginIds");
  spec.end_ids = to_uint32s(object.Get("endIds"), "endIds");
  spec.byte_level = bool_field(object, "byteLevel");
  spec.ignore_merges = bool_field(object, "ignoreMerges");
  spec.byte_fallback = bool_field(object, "byteFallback");
  spec.fuse_unknown = bool_field(object, "fuseUnknown");
  spec.needs_nfc = bool_field(object, "needsNfc");
  spec.spaces_to_marks = bool_field(object, "spacesToMarks");
  spec.strip_first_space = bool_field(object, "stripFirstSpace");
  spec.whole_text_is_word = bool_field(object, "wholeTextIsWord");
  spec.unknown = uint_field(object, "unknown", no_token);
  spec.prefix = to_utf16(object.Get("prefix"), "prefix");
  const uint32_t rule = uint_field(object, "prefixRule", 0);
  if (rule > static_cast<uint32_t>(PrefixRule::first_unless_there))
    throw invalid_argument("prefixRule: expected a prefix rule, got " + std::to_string(rule));
  spec.prefix_rule = static_cast<PrefixRule>(rule);
  const uint32_t decode_kind = uint_field(object, "decodeKind", 0);
  if (decode_kind > static_cast<uint32_t>(DecodeKind::steps))
    throw invalid_argument("decodeKind: expected a decoder kind, got " + std::to_string(decode_kind));
  spec.decode_kind = static_cast<DecodeKind>(decode_kind);
  return spec;
}

}  // namespace heddle
