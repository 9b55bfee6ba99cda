#include "binding/tokenizer/lists.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "binding/guard.h"
#include "binding/handle.h"
#include "binding/init.h"
#include "binding/tokenizer/tokenizer.h"
#include "core/error.h"

namespace heddle {
namespace {

class NativeStringList : public Handle<NativeStringList> {
 public:
  static constexpr napi_type_tag tag = {0x2f8c5d17e3a94b60ULL, 0xa41d9c7be0f35286ULL};
  static constexpr const char* class_name = "NativeStringList";
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, class_name,
        {InstanceAccessor<&NativeStringList::length>("length"), InstanceMethod<&NativeStringList::read>("read"),
            InstanceMethod<&NativeStringList::add>("add"), InstanceMethod<&NativeStringList::strings>("strings")});
  }

  explicit NativeStringList(const Napi::CallbackInfo& info) : Handle(info) {
    guard(info, [&] { info.This().As<Napi::Object>().TypeTag(&tag); });
  }

  static NativeStringList* from(const Napi::Value& value) {
    if (!value.IsObject() || !value.As<Napi::Object>().CheckTypeTag(&tag)) {
      throw invalid_argument("list: expected a NativeStringList, got something else");
    }
    return Unwrap(value.As<Napi::Object>());
  }
  const std::shared_ptr<StringList>& list() const { return list_; }
  std::shared_ptr<StringList> take() { return std::exchange(list_, std::make_shared<StringList>()); }

 private:
  Napi::Value length(const Napi::CallbackInfo& info) {
    return guard(info, [&]() -> Napi::Value {
      return Napi::Number::New(info.Env(), static_cast<double>(from(info.This())->list_->size()));
    });
  }

  // Returns the list so that it can be changed. Throws while a vocabulary is built from it on another thread.
  StringList& changeable() {
    if (list_.use_count() > 1)
      throw invalid_argument("list: expected an unused list, got one that a vocabulary is being built from");
    return *list_;
  }

  // read(bytes: Uint8Array, most): adds at most `most` strings in GGUF's layout. Returns the number of bytes consumed.
  Napi::Value read(const Napi::CallbackInfo& info) {
    return guard(info, [&]() -> Napi::Value {
      if (!info[0].IsTypedArray() || info[0].As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array) {
        throw invalid_argument("bytes: expected a Uint8Array, got something else");
      }
      const auto bytes = info[0].As<Napi::Uint8Array>();
      const std::string_view block(reinterpret_cast<const char*>(bytes.Data()), bytes.ElementLength());
      return Napi::Number::New(
          info.Env(), static_cast<double>(from(info.This())->changeable().read(block, to_uint32(info[1], "most"))));
    });
  }

  // add(text, lengths: Uint32Array): adds strings, which are concatenated in `text`. `lengths` has their lengths in
  // UTF-16 units.
  Napi::Value add(const Napi::CallbackInfo& info) {
    return guard(info, [&] {
      StringList& list = from(info.This())->changeable();
      TextBuffer text;
      IdBuffer lengths;
      add_parts("list", to_utf16(info[0], "text"), to_uint32s(info[1], "lengths"), text, lengths);
      size_t at = 0;
      for (const uint32_t length : lengths) {
        list.add(text.view().substr(at, length));
        at += length;
      }
    });
  }

  Napi::Value strings(const Napi::CallbackInfo& info) {
    return guard(info, [&]() -> Napi::Value {
      const StringList& list = *from(info.This())->list_;
      const Napi::Array array = Napi::Array::New(info.Env(), list.size());
      uint32_t at = 0;
      list.for_each([&](std::string_view bytes) {
        const Napi::HandleScope scope(info.Env());
        array.Set(at++, to_string(info.Env(), bytes));  // V8 replaces malformed bytes
      });
      return array;
    });
  }

  std::shared_ptr<StringList> list_ = std::make_shared<StringList>();
};

void init(Napi::Env env, Napi::Object exports) { exports.Set("NativeStringList", NativeStringList::define(env)); }
BindingInit registered(init);

template <class T>
T typed_array(const Napi::Value& value, const char* name, napi_typedarray_type type, const char* expected) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != type) {
    throw invalid_argument(std::string(name) + ": expected " + expected + ", got something else");
  }
  return value.As<T>();
}

}  // namespace

ListedVocabulary to_listed_vocabulary(const Napi::Value& value) {
  if (!value.IsObject()) throw invalid_argument("lists: expected an object, got something else");
  const Napi::Object object = value.As<Napi::Object>();
  ListedVocabulary listed;
  const bool takes = object.Get("takes").ToBoolean();
  const auto list_of = [&](const Napi::Value& list) {
    NativeStringList* given = NativeStringList::from(list);
    return takes ? given->take() : given->list();
  };
  listed.tokens = list_of(object.Get("tokens"));
  const Napi::Value merges = object.Get("merges");
  if (!merges.IsUndefined()) listed.merges = list_of(merges);
  const auto types = typed_array<Napi::Uint8Array>(object.Get("types"), "types", napi_uint8_array, "a Uint8Array");
  listed.types.assign(types.Data(), types.Data() + types.ElementLength());
  const Napi::Value scores = object.Get("scores");
  if (scores.IsTypedArray() && scores.As<Napi::TypedArray>().TypedArrayType() == napi_float32_array) {
    const auto floats = scores.As<Napi::Float32Array>();
    listed.scores.assign(floats.Data(), floats.Data() + floats.ElementLength());
  } else if (!scores.IsUndefined()) {
    const auto doubles =
        typed_array<Napi::Float64Array>(scores, "scores", napi_float64_array, "a Float32Array or a Float64Array");
    listed.scores.assign(doubles.Data(), doubles.Data() + doubles.ElementLength());
  }
  listed.merges_by_score = object.Get("mergesByScore").ToBoolean();
  listed.word_marks = object.Get("wordMarks").ToBoolean();
  listed.where = to_utf8(object.Get("where"), "where");
  listed.merges_where = to_utf8(object.Get("mergesWhere"), "mergesWhere");
  return listed;
}

}  // namespace heddle
