// NativeTokenizer and NativeDecoder: what lib/tokenizer needs of native/tokenizer on the JavaScript thread.
#include "binding/tokenizer.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "binding/arrays.h"
#include "binding/guard.h"
#include "binding/init.h"
#include "binding/tokenizer_calls.h"
#include "binding/tokenizer_job.h"
#include "binding/tokenizer_workspace.h"
#include "runtime/error.h"
#include "tokenizer/decoder.h"
#include "tokenizer/model_builder.h"
#include "tokenizer/shared_models.h"
#include "tokenizer/utf.h"

namespace heddle {
namespace {

constexpr napi_type_tag tokenizer_tag = {0x3b1f0c5e7a924d18ULL, 0x8c6d2e9f41b07a53ULL};
constexpr napi_type_tag decoder_tag = {0x51d7a4c2e08b4f36ULL, 0xb92c7f1e6a3d0845ULL};

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

// `vocabulary` (what readJsonVocabulary returned), or the texts themselves.
void read_texts(const Napi::Object& object, TokenizerSpec& spec) {
  spec.vocabulary = to_json_vocabulary(object.Get("vocabulary"));
  if (spec.vocabulary != nullptr) {
    spec.texts = texts_of(spec.vocabulary);
    return;
  }
  const std::u16string tokens = to_utf16(object.Get("tokens"), "tokens"), merges = to_utf16(object.Get("merges"), "merges");
  spec.texts = std::make_shared<const VocabularyTexts>(
      to_vocabulary_texts(tokens, to_uint32s(object.Get("tokenLengths"), "tokenLengths"), to_uint32s(object.Get("tokenIds"), "tokenIds"),
                          merges, to_uint32s(object.Get("mergeLengths"), "mergeLengths")));
}

TokenizerSpec to_spec(const Napi::Value& value) {
  if (!value.IsObject()) throw invalid_argument("spec: expected an object");
  const Napi::Object object = value.As<Napi::Object>();
  TokenizerSpec spec;
  read_texts(object, spec);
  spec.merge_ranks = to_uint32s(object.Get("mergeRanks"), "mergeRanks");
  spec.added = to_added(object.Get("added"));
  spec.stages = to_stages(object.Get("stages"));
  spec.normalizer = to_steps(object.Get("normalizer"));
  spec.pre_tokenizer = to_steps(object.Get("preTokenizer"));
  spec.decoder = to_steps(object.Get("decoder"));
  spec.uses_normalizer = bool_field(object, "usesNormalizer");
  const uint32_t kind = uint_field(object, "kind", 0);
  if (kind > static_cast<uint32_t>(ModelKind::word_level)) throw invalid_argument("kind: out of range");
  spec.kind = static_cast<ModelKind>(kind);
  spec.subword_prefix = to_utf8(object.Get("subwordPrefix"), "subwordPrefix");
  spec.word_suffix = to_utf8(object.Get("wordSuffix"), "wordSuffix");
  spec.max_word_characters = uint_field(object, "maxWordCharacters", 100);
  spec.scores = to_doubles(object.Get("scores"));
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
  if (rule > static_cast<uint32_t>(PrefixRule::first_unless_there)) throw invalid_argument("prefixRule: out of range");
  spec.prefix_rule = static_cast<PrefixRule>(rule);
  const uint32_t decode_kind = uint_field(object, "decodeKind", 0);
  if (decode_kind > static_cast<uint32_t>(DecodeKind::steps)) throw invalid_argument("decodeKind: out of range");
  spec.decode_kind = static_cast<DecodeKind>(decode_kind);
  return spec;
}

class NativeTokenizer : public Napi::ObjectWrap<NativeTokenizer> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "NativeTokenizer",
                       {InstanceAccessor<&NativeTokenizer::size>("size"),
                        InstanceAccessor<&NativeTokenizer::model_number>("modelNumber"),
                        InstanceMethod<&NativeTokenizer::encode_with_offsets>("encodeWithOffsets"),
                        InstanceMethod<&NativeTokenizer::encode_with>("encodeWith"),
                        InstanceMethod<&NativeTokenizer::encode_batch>("encodeBatch"),
                        InstanceMethod<&NativeTokenizer::decode_batch>("decodeBatch"),
                        InstanceMethod<&NativeTokenizer::token_bytes>("tokenBytes")});
  }

  explicit NativeTokenizer(const Napi::CallbackInfo& info) : Napi::ObjectWrap<NativeTokenizer>(info) {
    guard(info, [&] {
      model_ = shared_tokenizer(to_spec(info[0]));
      share_json_vocabulary(info[0].As<Napi::Object>().Get("vocabulary"), model_->vocabulary);
      calls_ = std::make_shared<TokenizerCalls>(model_);
      TokenizerCalls::define(calls_, info.This().As<Napi::Object>());
      info.This().As<Napi::Object>().TypeTag(&tokenizer_tag);
      reported_ = held;
      Napi::MemoryManagement::AdjustExternalMemory(info.Env(), reported_);
    });
  }

  void Finalize(Napi::Env env) override {
    if (reported_ > 0) Napi::MemoryManagement::AdjustExternalMemory(env, -reported_);
  }

  static NativeTokenizer* from(const Napi::Value& value) {
    if (!value.IsObject() || !value.As<Napi::Object>().CheckTypeTag(&tokenizer_tag)) {
      throw invalid_argument("tokenizer: expected a NativeTokenizer, got something else");
    }
    return Unwrap(value.As<Napi::Object>());
  }
  const std::shared_ptr<const TokenizerModel>& model() const { return model_; }

 private:
  // About what a tokenizer holds beside what others share with it, so that the garbage collector knows of a program that makes many.
  static constexpr int64_t held = 1 << 20;
  int64_t reported_ = 0;

  Napi::Value size(const Napi::CallbackInfo& info) {
    return guard(info, [&]() -> Napi::Value { return Napi::Number::New(info.Env(), from(info.This())->model_->text().size()); });
  }

  Napi::Value model_number(const Napi::CallbackInfo& info) {
    return guard(info, [&]() -> Napi::Value {
      return Napi::Number::New(info.Env(), static_cast<double>(from(info.This())->model_->number));
    });
  }

  // encodeWithOffsets(text, flags, barriers?) -> [ids, offsets].
  Napi::Value encode_with_offsets(const Napi::CallbackInfo& info) {
    return guard(info, [&]() -> Napi::Value {
      TokenizerCalls& calls = *from(info.This())->calls_;
      calls.run(info, to_flags(info[1]) | flag_offsets);
      return pair(info.Env(), calls.encoding());
    });
  }

  // encodeWith(text, flags, extras?) -> [ids, offsets]; without flag_offsets the latter is empty.
  Napi::Value encode_with(const Napi::CallbackInfo& info) {
    return guard(info, [&]() -> Napi::Value {
      TokenizerCalls& calls = *from(info.This())->calls_;
      EncodeOptions options = to_options(to_flags(info[1]));
      const EncodeExtras extras = to_extras(info[2]);
      extras.apply(options);
      calls.encode(info[0], options, extras.barriers);
      return pair(info.Env(), calls.encoding());
    });
  }

  // decodeBatch(ids: Uint32Array, counts: Uint32Array, skipSpecial) -> { promise: Promise<string[]>, cancel() }.
  Napi::Value decode_batch(const Napi::CallbackInfo& info) {
    return guard(info, [&]() -> Napi::Value { return start_decode_batch(info, from(info.This())->model_); });
  }

  // encodeBatch(texts, flags, extras?, spare?) -> { promise: Promise<[ids, counts]>, cancel() }.
  Napi::Value encode_batch(const Napi::CallbackInfo& info) {
    return guard(info, [&]() -> Napi::Value { 
      NativeTokenizer& self = *from(info.This());
      return start_encode_batch(info, self.model_, self.workspaces_);
    });
  }

  // tokenBytes(id) -> Uint8Array of what the token decodes to by itself, empty for an unknown id.
  Napi::Value token_bytes(const Napi::CallbackInfo& info) {
    return guard(info, [&]() -> Napi::Value {
      const TokenizerModel& model = *from(info.This())->model_;
      const uint32_t id = to_flags(info[0]);
      const int16_t byte = id < model.byte_value.size() ? model.byte_value[id] : -1;
      const char single = static_cast<char>(byte);
      const std::string_view bytes = byte >= 0 ? std::string_view(&single, 1) : model.text().bytes(id);
      Napi::Uint8Array array = Napi::Uint8Array::New(info.Env(), bytes.size());
      std::copy(bytes.begin(), bytes.end(), array.Data());
      return array;
    });
  }

  static Napi::Value pair(Napi::Env env, const Encoding& encoding) {
    const Napi::Array result = Napi::Array::New(env, 2);
    result.Set(0u, to_array(env, encoding.ids));
    result.Set(1u, to_array(env, encoding.offsets));
    return result;
  }

  std::shared_ptr<const TokenizerModel> model_;
  std::shared_ptr<TokenizerCalls> calls_;
  std::shared_ptr<Workspaces> workspaces_ = std::make_shared<Workspaces>();
};

// In JavaScript: class NativeDecoder { constructor(tokenizer, skipSpecial, continuing); push(id): string; flush(); settled }.
class NativeDecoder : public Napi::ObjectWrap<NativeDecoder> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "NativeDecoder", {InstanceMethod<&NativeDecoder::push>("push"),
                                              InstanceMethod<&NativeDecoder::flush>("flush"),
                                              InstanceAccessor<&NativeDecoder::settled>("settled")});
  }

  explicit NativeDecoder(const Napi::CallbackInfo& info) : Napi::ObjectWrap<NativeDecoder>(info) {
    guard(info, [&] {
      decoder_ = std::make_unique<Decoder>(NativeTokenizer::from(info[0])->model(), info[1].ToBoolean().Value(),
                                           info[2].ToBoolean().Value());
      info.This().As<Napi::Object>().TypeTag(&decoder_tag);
    });
  }

 private:
  static Decoder& from(const Napi::Value& value) {
    if (!value.IsObject() || !value.As<Napi::Object>().CheckTypeTag(&decoder_tag)) {
      throw invalid_argument("decoder: expected a NativeDecoder, got something else");
    }
    return *Unwrap(value.As<Napi::Object>())->decoder_;
  }

  Napi::Value push(const Napi::CallbackInfo& info) {
    return guard(info, [&]() -> Napi::Value {
      std::string out;
      from(info.This()).push(to_flags(info[0]), out);
      return to_string(info.Env(), out);
    });
  }

  Napi::Value flush(const Napi::CallbackInfo& info) {
    return guard(info, [&]() -> Napi::Value {
      std::string out;
      from(info.This()).flush(out);
      return to_string(info.Env(), out);
    });
  }

  // Whether the text of the ids to come does not depend on those before.
  Napi::Value settled(const Napi::CallbackInfo& info) {
    return guard(info, [&]() -> Napi::Value { return Napi::Boolean::New(info.Env(), from(info.This()).settled()); });
  }

  std::unique_ptr<Decoder> decoder_;
};

void init_tokenizer(Napi::Env env, Napi::Object exports) {
  exports.Set("NativeTokenizer", NativeTokenizer::define(env));
  exports.Set("NativeDecoder", NativeDecoder::define(env));
}
BindingInit registered(init_tokenizer);

}  // namespace

std::string to_utf8(const Napi::Value& value, const char* name) {
  std::u16string text = to_utf16(value, name);
  std::string out;
  utf::append_utf8(text.data(), text.size(), out);
  return out;
}

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

uint32_t to_flags(const Napi::Value& value) {
  const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : -1;
  if (!(number >= 0 && number <= 4294967295.0)) throw invalid_argument("expected a number from 0 to 2^32-1");
  return static_cast<uint32_t>(number);
}

std::vector<SplitStage> to_stages(const Napi::Value& value) {
  std::vector<SplitStage> stages;
  const std::vector<uint32_t> numbers = to_uint32s(value, "stages");
  for (size_t i = 0; i + 2 < numbers.size(); i += 3) {
    stages.push_back({static_cast<SplitKind>(numbers[i]), static_cast<uint8_t>(numbers[i + 1]), numbers[i + 2] != 0});
  }
  return stages;
}

EncodeOptions to_options(uint32_t flags) {
  EncodeOptions options;
  options.add_special = flags & flag_add_special;
  options.allow_special = flags & flag_allow_special;
  options.offsets = flags & (flag_offsets | flag_byte_offsets);
  options.byte_offsets = flags & flag_byte_offsets;
  return options;
}

EncodeExtras to_extras(const Napi::Value& value) {
  EncodeExtras extras;
  if (!value.IsObject()) return extras;
  const Napi::Object object = value.As<Napi::Object>();
  extras.allowed = to_uint32s(object.Get("allowed"), "allowed");
  extras.has_allowed = object.Get("allowed").IsTypedArray();
  std::sort(extras.allowed.begin(), extras.allowed.end());
  const Napi::Value dropout = object.Get("dropout");
  if (dropout.IsNumber()) extras.dropout = dropout.As<Napi::Number>().DoubleValue();
  if (!(extras.dropout >= 0 && extras.dropout < 1)) throw invalid_argument("dropout: expected a number from 0, below 1");
  const Napi::Value seed = object.Get("seed");
  if (seed.IsNumber()) extras.seed = static_cast<uint64_t>(seed.As<Napi::Number>().Int64Value());
  extras.barriers = to_uint32s(object.Get("barriers"), "barriers");
  return extras;
}

void EncodeExtras::apply(EncodeOptions& options) const {
  if (has_allowed) options.allowed_ids = &allowed;
  options.dropout = dropout;
  options.seed = seed;
}

void read_utf16(const Napi::Value& value, const char* name, std::u16string& out) {
  if (!value.IsString()) throw invalid_argument(std::string(name) + ": expected a string, got something else");
  const Napi::Env env = value.Env();
  size_t length = 0;
  if (napi_get_value_string_utf16(env, value, nullptr, 0, &length) != napi_ok) throw Napi::Error::New(env);
  out.resize(length + 1);  // N-API writes a terminator
  if (napi_get_value_string_utf16(env, value, out.data(), length + 1, &length) != napi_ok) throw Napi::Error::New(env);
  out.resize(length);
}

std::u16string to_utf16(const Napi::Value& value, const char* name) {
  std::u16string text;
  if (!value.IsUndefined()) read_utf16(value, name, text);
  return text;
}

std::vector<uint32_t> to_uint32s(const Napi::Value& value, const char* name) {
  if (value.IsUndefined() || value.IsNull()) return {};
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_uint32_array) {
    throw invalid_argument(std::string(name) + ": expected a Uint32Array, got something else");
  }
  const auto array = value.As<Napi::Uint32Array>();
  return {array.Data(), array.Data() + array.ElementLength()};
}

Napi::Value to_array(Napi::Env env, const IdBuffer& numbers) {
  Napi::Uint32Array array = new_uint32_array(env, numbers.size());
  std::copy(numbers.begin(), numbers.end(), array.Data());
  return array;
}

Napi::Value to_array(Napi::Env env, const std::vector<uint32_t>& numbers) {
  Napi::Uint32Array array = new_uint32_array(env, numbers.size());
  std::copy(numbers.begin(), numbers.end(), array.Data());
  return array;
}

Error string_too_long(Napi::Env env, size_t bytes) {
  if (env.IsExceptionPending()) env.GetAndClearPendingException();
  return {"OUT_OF_MEMORY", "text: expected one that a string can hold, got " + std::to_string(bytes) + " bytes"};
}

Napi::Value to_string(Napi::Env env, std::string_view utf8) {
  napi_value result;
  if (napi_create_string_utf8(env, utf8.data(), utf8.size(), &result) != napi_ok) throw string_too_long(env, utf8.size());
  return {env, result};
}

}  // namespace heddle
