// NativeTokenizer and NativeDecoder: the tokenizer's interface on the JavaScript thread.
#include "binding/tokenizer/tokenizer.h"

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>

#include "binding/guard.h"
#include "binding/handle.h"
#include "binding/init.h"
#include "binding/tokenizer/calls.h"
#include "binding/tokenizer/job.h"
#include "binding/tokenizer/workspace.h"
#include "core/error.h"
#include "tokenizer/text/characters.h"
#include "tokenizer/decode/decoder.h"
#include "tokenizer/models/model_builder.h"
#include "tokenizer/shared_models.h"

namespace heddle {
namespace {

class NativeTokenizer : public Handle<NativeTokenizer> {
 public:
  static constexpr napi_type_tag tag = {0x3b1f0c5e7a924d18ULL, 0x8c6d2e9f41b07a53ULL};
  static constexpr const char* class_name = "NativeTokenizer";
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, class_name,
        {InstanceAccessor<&NativeTokenizer::size>("size"),
            InstanceAccessor<&NativeTokenizer::model_number>("modelNumber"),
            InstanceMethod<&NativeTokenizer::encode_with_offsets>("encodeWithOffsets"),
            InstanceMethod<&NativeTokenizer::encode_with>("encodeWith"),
            InstanceMethod<&NativeTokenizer::decode_batch>("decodeBatch"),
            InstanceMethod<&NativeTokenizer::last_reset>("lastReset"),
            InstanceMethod<&NativeTokenizer::guard_characters>("guardCharacters"),
            InstanceMethod<&NativeTokenizer::token_bytes>("tokenBytes")});
  }

  explicit NativeTokenizer(const Napi::CallbackInfo& info) : Handle(info) {
    guard(info, [&] {
      if (info[0].IsExternal()) {  // called by startTokenizer
        model_ = *info[0].As<Napi::External<std::shared_ptr<const TokenizerModel>>>().Data();
      } else {
        model_ = shared_tokenizer(to_spec(info[0]));
        share_file_vocabulary(info[0].As<Napi::Object>().Get("vocabulary"), model_->vocabulary);
      }
      calls_ = std::make_shared<TokenizerCalls>(model_);
      TokenizerCalls::define(calls_, info.This().As<Napi::Object>());
      info.This().As<Napi::Object>().TypeTag(&tag);
      reported_ = held;
      Napi::MemoryManagement::AdjustExternalMemory(info.Env(), reported_);
    });
  }

  void Finalize(Napi::Env env) override {
    if (reported_ > 0) Napi::MemoryManagement::AdjustExternalMemory(env, -reported_);
  }

  static NativeTokenizer* from(const Napi::Value& value) {
    if (!value.IsObject() || !value.As<Napi::Object>().CheckTypeTag(&tag)) {
      throw invalid_argument("tokenizer: expected a NativeTokenizer, got something else");
    }
    return Unwrap(value.As<Napi::Object>());
  }
  const std::shared_ptr<const TokenizerModel>& model() const { return model_; }
  const std::shared_ptr<Workspaces>& workspaces() const { return workspaces_; }

 private:
  // Approximate bytes of a tokenizer that are not shared. They are reported to the garbage collector, for programs that
  // create many tokenizers.
  static constexpr int64_t held = 1 << 20;
  int64_t reported_ = 0;

  Napi::Value size(const Napi::CallbackInfo& info) {
    return guard(
        info, [&]() -> Napi::Value { return Napi::Number::New(info.Env(), from(info.This())->model_->texts.size()); });
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
      calls.run(info, to_uint32(info[1], "flags") | flag_offsets);
      return pair(info.Env(), calls.encoding());
    });
  }

  // encodeWith(text, flags, extras?) -> [ids, offsets]. `offsets` is empty without flag_offsets.
  Napi::Value encode_with(const Napi::CallbackInfo& info) {
    return guard(info, [&]() -> Napi::Value {
      TokenizerCalls& calls = *from(info.This())->calls_;
      EncodeOptions options = to_options(to_uint32(info[1], "flags"));
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

  // guardCharacters(text) -> Uint8Array with the class of each character of a well-formed text, see GuardCharacters.
  Napi::Value guard_characters(const Napi::CallbackInfo& info) {
    return guard(info, [&]() -> Napi::Value {
      const TokenizerModel& model = *from(info.This())->model_;
      std::u16string units;
      read_utf16(info[0], "text", units);
      std::string text;
      utf::append_utf8(units.data(), units.size(), text);
      std::vector<uint8_t> classes;
      RegexBudget budget(text.size());
      for_each_character(text, [&](uint32_t code, size_t, size_t) { classes.push_back(model.guard.of(code, budget)); });
      Napi::Uint8Array array = Napi::Uint8Array::New(info.Env(), classes.size());
      std::copy(classes.begin(), classes.end(), array.Data());
      return array;
    });
  }

  // lastReset(ids) -> the index of the last id from which decoding can restart, or ids.length if none is known.
  Napi::Value last_reset(const Napi::CallbackInfo& info) {
    return guard(info, [&]() -> Napi::Value {
      const std::vector<uint32_t> ids = to_uint32s(info[0], "ids");
      const size_t index = heddle::last_reset(*from(info.This())->model_, ids.data(), ids.size());
      return Napi::Number::New(info.Env(), static_cast<double>(index));
    });
  }

  // tokenBytes(id) -> Uint8Array with the bytes that the token decodes to on its own. Empty for an unknown id.
  Napi::Value token_bytes(const Napi::CallbackInfo& info) {
    return guard(info, [&]() -> Napi::Value {
      const TokenizerModel& model = *from(info.This())->model_;
      const uint32_t id = to_uint32(info[0], "id");
      const int byte = model.byte_of(id);
      const char single = static_cast<char>(byte);
      const std::string_view bytes = byte >= 0 ? std::string_view(&single, 1) : model.texts.bytes(id);
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

// In JavaScript: class NativeDecoder { constructor(tokenizer, skipSpecial, after); push(id): string; flush(); settled
// }. `after` is a Uint32Array of ids whose text was already returned, another decoder to continue, or undefined.
class NativeDecoder : public Handle<NativeDecoder> {
 public:
  static constexpr napi_type_tag tag = {0x51d7a4c2e08b4f36ULL, 0xb92c7f1e6a3d0845ULL};
  static constexpr const char* class_name = "NativeDecoder";
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, class_name,
        {InstanceMethod<&NativeDecoder::push>("push"), InstanceMethod<&NativeDecoder::flush>("flush"),
            InstanceAccessor<&NativeDecoder::settled>("settled")});
  }

  explicit NativeDecoder(const Napi::CallbackInfo& info) : Handle(info) {
    guard(info, [&] {
      const Napi::Value after = info[2];
      if (after.IsObject() && after.As<Napi::Object>().CheckTypeTag(&tag)) {
        decoder_ = std::make_unique<Decoder>(from(after));
      } else {
        decoder_ = std::make_unique<Decoder>(NativeTokenizer::from(info[0])->model(), info[1].ToBoolean().Value());
        if (!after.IsUndefined()) {
          const std::vector<uint32_t> ids = to_uint32s(after, "after");
          decoder_->follow(ids.data(), ids.size());
        }
      }
      info.This().As<Napi::Object>().TypeTag(&tag);
    });
  }

 private:
  static Decoder& from(const Napi::Value& value) {
    if (!value.IsObject() || !value.As<Napi::Object>().CheckTypeTag(&tag)) {
      throw invalid_argument("decoder: expected a NativeDecoder, got something else");
    }
    return *Unwrap(value.As<Napi::Object>())->decoder_;
  }

  Napi::Value push(const Napi::CallbackInfo& info) {
    return guard(info, [&]() -> Napi::Value {
      std::string out;
      from(info.This()).push(to_uint32(info[0], "id"), out);
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

  // Whether the text of later ids is independent of earlier ids.
  Napi::Value settled(const Napi::CallbackInfo& info) {
    return guard(info, [&]() -> Napi::Value { return Napi::Boolean::New(info.Env(), from(info.This()).settled()); });
  }

  std::unique_ptr<Decoder> decoder_;
};

void init_tokenizer(Napi::Env env, Napi::Object exports) {
  const Napi::Function made = NativeTokenizer::define(env);
  const auto constructor = std::make_shared<Napi::FunctionReference>(Napi::Persistent(made));
  // startTokenizer(spec) -> { promise: Promise<NativeTokenizer>, cancel() }. Builds the tokenizer on another thread.
  const auto start = [constructor](const Napi::CallbackInfo& info) {
    return guard(info, [&] {
      const auto spec = std::make_shared<TokenizerSpec>(to_spec(info[0]));
      const auto given = std::make_shared<Napi::ObjectReference>(Napi::Persistent(info[0].As<Napi::Object>()));
      const auto model = std::make_shared<std::shared_ptr<const TokenizerModel>>();
      return TokenizerJob::start(info.Env(), [spec, model](TokenizerJob&) {
        *model = shared_tokenizer(*spec);
        *spec = {};
      }, [constructor, given, model](Napi::Env here) -> Napi::Value {
        share_file_vocabulary(given->Value().Get("vocabulary"), (*model)->vocabulary);
        return constructor->New({Napi::External<std::shared_ptr<const TokenizerModel>>::New(here, model.get())});
      }, info.Env().Undefined());
    });
  };
  exports.Set("NativeTokenizer", made);
  exports.Set("startTokenizer", Napi::Function::New(env, start, "startTokenizer"));
  exports.Set("NativeDecoder", NativeDecoder::define(env));
}
BindingInit registered(init_tokenizer);

}  // namespace

TokenizerParts parts_of(const Napi::Value& tokenizer) {
  const NativeTokenizer& native = *NativeTokenizer::from(tokenizer);
  return {native.model(), native.workspaces()};
}

}  // namespace heddle
