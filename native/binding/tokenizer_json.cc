// readJsonVocabulary(bytes) -> { rest, tokens, tokenLengths, tokenIds, merges, mergeLengths, find(token) }, or undefined.
#include <memory>
#include <string>

#include "binding/guard.h"
#include "binding/init.h"
#include "binding/tokenizer.h"
#include "runtime/error.h"
#include "tokenizer/json_vocabulary.h"

namespace heddle {
namespace {

Napi::Value to_utf16_string(Napi::Env env, const std::u16string& text) {
  napi_value result;
  if (napi_create_string_utf16(env, text.data(), text.size(), &result) != napi_ok) throw Napi::Error::New(env);
  return {env, result};
}

Napi::Value read(const Napi::CallbackInfo& info) {
  return guard(info, [&]() -> Napi::Value {
    const Napi::Env env = info.Env();
    if (!info[0].IsTypedArray() || info[0].As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array) {
      throw invalid_argument("bytes: expected a Uint8Array, got something else");
    }
    const auto bytes = info[0].As<Napi::Uint8Array>();
    const std::shared_ptr<const JsonVocabulary> vocabulary =
        read_json_vocabulary({reinterpret_cast<const char*>(bytes.Data()), bytes.ElementLength()});
    if (vocabulary == nullptr) return env.Undefined();
    const Napi::Object result = Napi::Object::New(env);
    result.Set("rest", to_string(env, vocabulary->rest));
    result.Set("tokens", to_utf16_string(env, vocabulary->tokens));
    result.Set("tokenLengths", to_array(env, vocabulary->token_lengths));
    result.Set("tokenIds", to_array(env, vocabulary->token_ids));
    result.Set("merges", to_utf16_string(env, vocabulary->merges));
    result.Set("mergeLengths", to_array(env, vocabulary->merge_lengths));
    const auto find = [vocabulary](const Napi::CallbackInfo& call) {
      return guard(call, [&]() -> Napi::Value {
        const uint32_t id = vocabulary->find(to_utf16(call[0], "token"));
        return id == UINT32_MAX ? call.Env().Undefined() : Napi::Number::New(call.Env(), id);
      });
    };
    result.Set("find", Napi::Function::New(env, find, "find"));
    return result;
  });
}

void init(Napi::Env env, Napi::Object exports) {
  exports.Set("readJsonVocabulary", Napi::Function::New<read>(env, "readJsonVocabulary"));
}
BindingInit registered(init);

}  // namespace
}  // namespace heddle
