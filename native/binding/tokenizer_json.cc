// readJsonVocabulary(bytes) -> NativeJsonVocabulary, or undefined: see lib/binding.ts.
#include <memory>
#include <string>

#include "binding/guard.h"
#include "binding/init.h"
#include "binding/tokenizer.h"
#include "runtime/error.h"
#include "tokenizer/json_vocabulary.h"

namespace heddle {
namespace {

constexpr napi_type_tag vocabulary_tag = {0x6c1f9a0b37d54e82ULL, 0x93b5e27c4d180fa6ULL};

class NativeJsonVocabulary : public Napi::ObjectWrap<NativeJsonVocabulary> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "NativeJsonVocabulary",
                       {InstanceAccessor<&NativeJsonVocabulary::rest>("rest"),
                        InstanceMethod<&NativeJsonVocabulary::find>("find"),
                        InstanceMethod<&NativeJsonVocabulary::ids>("ids"),
                        InstanceMethod<&NativeJsonVocabulary::tokens>("tokens"),
                        InstanceMethod<&NativeJsonVocabulary::merges>("merges")});
  }

  // readJsonVocabulary alone calls it, with an External of what it has read.
  explicit NativeJsonVocabulary(const Napi::CallbackInfo& info) : Napi::ObjectWrap<NativeJsonVocabulary>(info) {
    guard(info, [&] {
      if (!info[0].IsExternal()) throw invalid_argument("NativeJsonVocabulary: made by readJsonVocabulary alone");
      read_ = *info[0].As<Napi::External<std::shared_ptr<const JsonVocabulary>>>().Data();
      info.This().As<Napi::Object>().TypeTag(&vocabulary_tag);
    });
  }

  static const std::shared_ptr<const JsonVocabulary>& from(const Napi::Value& value) {
    if (!value.IsObject() || !value.As<Napi::Object>().CheckTypeTag(&vocabulary_tag)) {
      throw invalid_argument("vocabulary: expected what readJsonVocabulary returns, got something else");
    }
    return Unwrap(value.As<Napi::Object>())->read_;
  }

 private:
  Napi::Value rest(const Napi::CallbackInfo& info) {
    return guard(info, [&] { return to_string(info.Env(), from(info.This())->rest); });
  }

  // find(token) -> its id, or undefined.
  Napi::Value find(const Napi::CallbackInfo& info) {
    return guard(info, [&]() -> Napi::Value {
      const uint32_t id = from(info.This())->find(to_utf8(info[0], "token"));
      return id == UINT32_MAX ? info.Env().Undefined() : Napi::Number::New(info.Env(), id);
    });
  }

  Napi::Value ids(const Napi::CallbackInfo& info) {
    return guard(info, [&] { return to_array(info.Env(), from(info.This())->texts.token_ids); });
  }
  Napi::Value tokens(const Napi::CallbackInfo& info) {
    return guard(info, [&] {
      const VocabularyTexts& texts = from(info.This())->texts;
      return to_strings(info.Env(), texts.tokens.view(), texts.token_lengths);
    });
  }
  Napi::Value merges(const Napi::CallbackInfo& info) {
    return guard(info, [&] {
      const VocabularyTexts& texts = from(info.This())->texts;
      return to_strings(info.Env(), texts.merges.view(), texts.merge_lengths);
    });
  }

  static Napi::Value to_strings(Napi::Env env, std::string_view text, const IdBuffer& lengths) {
    const Napi::Array array = Napi::Array::New(env, lengths.size());
    size_t at = 0;
    for (size_t i = 0; i < lengths.size(); ++i) {
      const Napi::HandleScope scope(env);
      array.Set(static_cast<uint32_t>(i), to_string(env, text.substr(at, lengths[i])));
      at += lengths[i];
    }
    return array;
  }

  std::shared_ptr<const JsonVocabulary> read_;
};

void init(Napi::Env env, Napi::Object exports) {
  const Napi::Function made = NativeJsonVocabulary::define(env);
  auto constructor = std::make_shared<Napi::FunctionReference>(Napi::Persistent(made));
  const auto read = [constructor](const Napi::CallbackInfo& info) {
    return guard(info, [&]() -> Napi::Value {
      if (!info[0].IsTypedArray() || info[0].As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array) {
        throw invalid_argument("bytes: expected a Uint8Array, got something else");
      }
      const auto bytes = info[0].As<Napi::Uint8Array>();
      std::shared_ptr<const JsonVocabulary> vocabulary =
          read_json_vocabulary({reinterpret_cast<const char*>(bytes.Data()), bytes.ElementLength()});
      if (vocabulary == nullptr) return info.Env().Undefined();
      return constructor->New({Napi::External<std::shared_ptr<const JsonVocabulary>>::New(info.Env(), &vocabulary)});
    });
  };
  exports.Set("readJsonVocabulary", Napi::Function::New(env, read, "readJsonVocabulary"));
}
BindingInit registered(init);

}  // namespace

std::shared_ptr<const VocabularyTexts> json_vocabulary_texts(const Napi::Value& value) {
  const std::shared_ptr<const JsonVocabulary>& read = NativeJsonVocabulary::from(value);
  return {read, &read->texts};
}

}  // namespace heddle
