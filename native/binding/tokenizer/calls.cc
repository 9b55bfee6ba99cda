#include "binding/tokenizer/calls.h"

#include <algorithm>
#include <string>

#include "binding/guard.h"
#include "binding/tokenizer/tokenizer.h"
#include "core/error.h"
#include "tokenizer/decode/decoder.h"
#include "tokenizer/text/utf.h"

namespace heddle {

void TokenizerCalls::define(const std::shared_ptr<TokenizerCalls>& calls, Napi::Object object) {
  const Napi::Env env = object.Env();
  Napi::Uint32Array output = Napi::Uint32Array::New(env, output_capacity);
  calls->output_ = output.Data();
  object.Set("output", output);
  const auto add = [&](const char* name, Napi::Function function) {
    // `output` lives as long as any function that writes to it.
    function.Set("output", output);
    auto kept = std::make_unique<std::shared_ptr<TokenizerCalls>>(calls);
    function.AddFinalizer([](Napi::Env, std::shared_ptr<TokenizerCalls>* held) { delete held; }, kept.get());
    (void)kept.release();
    object.Set(name, function);
  };
  void* data = calls.get();
  add("encode", Napi::Function::New<encode_call>(env, "encode", data));
  add("count", Napi::Function::New<count_call>(env, "count", data));
  add("decode", Napi::Function::New<decode_call>(env, "decode", data));
  add("settledText", Napi::Function::New<settled_text_call>(env, "settledText", data));
}

// Needs one Node-API call if the text fits the buffer, which earlier texts have grown.
size_t TokenizerCalls::read_text(const Napi::Value& text) {
  const Napi::Env env = text.Env();
  text_.reserve(4096);
  size_t length = 0;
  const napi_status status = napi_get_value_string_utf16(env, text, text_.data(), text_.capacity(), &length);
  if (status == napi_string_expected) throw invalid_argument("text: expected a string, got something else");
  if (status != napi_ok) throw Napi::Error::New(env);
  if (length + 1 < text_.capacity()) return length;
  if (napi_get_value_string_utf16(env, text, nullptr, 0, &length) != napi_ok) throw Napi::Error::New(env);
  text_.reserve(length + 2);
  if (napi_get_value_string_utf16(env, text, text_.data(), text_.capacity(), &length) != napi_ok) {
    throw Napi::Error::New(env);
  }
  return length;
}

void TokenizerCalls::encode(
    const Napi::Value& text, const EncodeOptions& options, const std::vector<uint32_t>& barriers) {
  const size_t length = read_text(text);
  encoding_.ids.clear();
  encoding_.offsets.clear();
  encoder_.encode(text_.data(), length, options, barriers, encoding_);
}

void TokenizerCalls::run(const Napi::CallbackInfo& info, uint32_t flags) {
  encode(info[0], to_options(flags), info.Length() > 2 ? to_uint32s(info[2], "barriers") : std::vector<uint32_t>());
}

Napi::Value TokenizerCalls::encode_call(const Napi::CallbackInfo& info) {
  return guard(info, [&]() -> Napi::Value {
    TokenizerCalls& self = from(info);
    self.run(info, to_uint32(info[1], "flags"));
    const IdBuffer& ids = self.encoding_.ids;
    if (ids.size() > output_capacity) return to_array(info.Env(), ids);
    std::copy(ids.begin(), ids.end(), self.output_);
    return Napi::Number::New(info.Env(), static_cast<double>(ids.size()));
  });
}

Napi::Value TokenizerCalls::count_call(const Napi::CallbackInfo& info) {
  return guard(info, [&]() -> Napi::Value {
    TokenizerCalls& self = from(info);
    self.run(info, to_uint32(info[1], "flags"));
    return Napi::Number::New(info.Env(), static_cast<double>(self.encoding_.ids.size()));
  });
}

// decode(ids, skipSpecial)
Napi::Value TokenizerCalls::decode_call(const Napi::CallbackInfo& info) {
  return guard(info, [&]() -> Napi::Value {
    TokenizerCalls& self = from(info);
    const Napi::Env env = info.Env();
    if (!info[0].IsTypedArray() || info[0].As<Napi::TypedArray>().TypedArrayType() != napi_uint32_array) {
      throw invalid_argument("ids: expected a Uint32Array, got something else");
    }
    const auto ids = info[0].As<Napi::Uint32Array>();
    const std::string_view text =
        decode(*self.model_, ids.Data(), ids.ElementLength(), info[1].ToBoolean().Value(), self.decoded_);
    napi_value result;
    if (utf::ascii_length(text) == text.size()) {
      if (napi_create_string_latin1(env, text.data(), text.size(), &result) != napi_ok)
        throw string_too_long(env, text.size());
      return {env, result};
    }
    // The text is converted to UTF-16 here, because V8's UTF-8 reader would scan it twice.
    self.wide_.reserve(text.size());
    const size_t units = utf::to_utf16(text, self.wide_.data());
    if (napi_create_string_utf16(env, self.wide_.data(), units, &result) != napi_ok)
      throw string_too_long(env, text.size());
    return {env, result};
  });
}

Napi::Value TokenizerCalls::settled_text_call(const Napi::CallbackInfo& info) {
  return guard(info, [&]() -> Napi::Value {
    std::string_view text;
    if (!settled_text(*from(info).model_, to_uint32(info[0], "id"), text)) return info.Env().Undefined();
    return to_string(info.Env(), text);
  });
}

}  // namespace heddle
