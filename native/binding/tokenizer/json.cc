// NativeJsonVocabulary (lib/binding/tokenizer.ts): vocabularies that are read from files.
#include <algorithm>
#include <functional>
#include <memory>
#include <new>
#include <string>
#include <tuple>

#include "binding/arrays.h"
#include "binding/guard.h"
#include "binding/handle.h"
#include "binding/init.h"
#include "binding/tokenizer/tokenizer.h"
#include "binding/tokenizer/job.h"
#include "binding/tokenizer/lists.h"
#include "core/error.h"
#include "tokenizer/vocabulary/compiled_vocabulary.h"
#include "tokenizer/vocabulary/file_vocabulary.h"
#include "tokenizer/memory.h"
#include "tokenizer/vocabulary/score_merges.h"

namespace heddle {
namespace {

std::string_view to_view(const Napi::Value& value, const char* name) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array) {
    throw invalid_argument(std::string(name) + ": expected a Uint8Array, got something else");
  }
  const auto bytes = value.As<Napi::Uint8Array>();
  return {reinterpret_cast<const char*>(bytes.Data()), bytes.ElementLength()};
}

class NativeJsonVocabulary : public Handle<NativeJsonVocabulary> {
 public:
  static constexpr napi_type_tag tag = {0x6c1f9a0b37d54e82ULL, 0x93b5e27c4d180fa6ULL};
  static constexpr const char* class_name = "NativeJsonVocabulary";
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, class_name,
        {InstanceAccessor<&NativeJsonVocabulary::rest>("rest"), InstanceAccessor<&NativeJsonVocabulary::size>("size"),
            InstanceMethod<&NativeJsonVocabulary::token>("token"), InstanceMethod<&NativeJsonVocabulary::find>("find"),
            InstanceMethod<&NativeJsonVocabulary::find_all>("findAll"),
            InstanceMethod<&NativeJsonVocabulary::scores>("scores"), InstanceMethod<&NativeJsonVocabulary::ids>("ids"),
            InstanceMethod<&NativeJsonVocabulary::tokens>("tokens"),
            InstanceMethod<&NativeJsonVocabulary::merges>("merges"),
            InstanceMethod<&NativeJsonVocabulary::compile>("compile")});
  }

  // Only the functions that init() defines call this constructor, with an External of the vocabulary.
  explicit NativeJsonVocabulary(const Napi::CallbackInfo& info) : Handle(info) {
    guard(info, [&] {
      if (!info[0].IsExternal())
        throw invalid_argument(
            "NativeJsonVocabulary: expected a call of readJsonVocabulary, got a direct construction");
      read_ = *info[0].As<Napi::External<std::shared_ptr<const FileVocabulary>>>().Data();
      info.This().As<Napi::Object>().TypeTag(&tag);
    });
  }

  static std::shared_ptr<const FileVocabulary>& from(const Napi::Value& value) {
    if (!value.IsObject() || !value.As<Napi::Object>().CheckTypeTag(&tag)) {
      throw invalid_argument("vocabulary: expected a NativeJsonVocabulary, got something else");
    }
    return Unwrap(value.As<Napi::Object>())->read_;
  }

 private:
  Napi::Value rest(const Napi::CallbackInfo& info) {
    return guard(info, [&] { return to_string(info.Env(), from(info.This())->rest); });
  }

  Napi::Value size(const Napi::CallbackInfo& info) {
    return guard(info,
        [&]() -> Napi::Value { return Napi::Number::New(info.Env(), static_cast<double>(from(info.This())->size())); });
  }

  // token(place) -> the text of the token at that position in the file, or undefined.
  Napi::Value token(const Napi::CallbackInfo& info) {
    return guard(info, [&]() -> Napi::Value {
      const FileVocabulary& read = *from(info.This());
      const uint32_t place = to_uint32(info[0], "place");
      return place < read.size() ? to_string(info.Env(), read.token(place)) : info.Env().Undefined();
    });
  }

  Napi::Value scores(const Napi::CallbackInfo& info) {
    return guard(info, [&] {
      const std::vector<double>& scores = from(info.This())->texts.scores;
      Napi::ArrayBuffer buffer = new_array_buffer(info.Env(), scores.size() * sizeof(double));
      const Napi::Float64Array array = Napi::Float64Array::New(info.Env(), scores.size(), buffer, 0);
      std::copy(scores.begin(), scores.end(), static_cast<double*>(buffer.Data()));
      return array;
    });
  }

  // find(token) -> its id, or undefined.
  Napi::Value find(const Napi::CallbackInfo& info) {
    return guard(info, [&]() -> Napi::Value {
      const uint32_t id = from(info.This())->find(to_utf8(info[0], "token"));
      return id == UINT32_MAX ? info.Env().Undefined() : Napi::Number::New(info.Env(), id);
    });
  }

  // findAll(tokens) -> an array of their ids, with holes for unknown tokens.
  Napi::Value find_all(const Napi::CallbackInfo& info) {
    return guard(info, [&]() -> Napi::Value {
      if (!info[0].IsArray()) throw invalid_argument("tokens: expected an array of strings, got another value");
      const Napi::Array names = info[0].As<Napi::Array>();
      std::vector<std::string> tokens;
      for (uint32_t i = 0; i < names.Length(); ++i) {
        const Napi::HandleScope scope(info.Env());
        tokens.push_back(to_utf8(names.Get(i), "token"));
      }
      const std::vector<uint32_t> found = from(info.This())->find_all(tokens);
      const Napi::Array ids = Napi::Array::New(info.Env(), found.size());
      for (uint32_t i = 0; i < found.size(); ++i)
        if (found[i] != UINT32_MAX) ids.Set(i, found[i]);
      return ids;
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
    return guard(info, [&]() -> Napi::Value {
      const FileVocabulary& read = *from(info.This());
      const VocabularyTexts& texts = read.texts;
      if (!texts.mergeable.empty()) return parts_of(info.Env(), read, merges_by_score(read));
      if (!texts.merge_tokens.empty()) return parts_of(info.Env(), read, texts.merge_tokens);
      return to_strings(info.Env(), texts.merges.view(), texts.merge_lengths);
    });
  }

  // compile(source) -> Uint8Array, or undefined if the vocabulary cannot be compiled.
  Napi::Value compile(const Napi::CallbackInfo& info) {
    return guard(info, [&]() -> Napi::Value {
      const std::string compiled = compile_vocabulary(*from(info.This()), to_view(info[0], "source"));
      if (compiled.empty()) return info.Env().Undefined();
      Napi::Uint8Array array = Napi::Uint8Array::New(info.Env(), compiled.size());
      std::copy(compiled.begin(), compiled.end(), array.Data());
      return array;
    });
  }

  // Returns three numbers per merge: left, right, merged token. Sorts merges of equal score by left and right, like
  // transformers.
  static IdBuffer merges_by_score(const FileVocabulary& read) {
    std::vector<ScoreMerge> merges;
    const auto text_of = [&](uint32_t number) { return read.token(number); };
    const auto find = [&](std::string_view text) { return read.number_of(text); };
    for_each_score_merge(read.texts, text_of, find, [&](const ScoreMerge& merge) { merges.push_back(merge); });
    const auto key = [](const ScoreMerge& merge) { return std::make_tuple(merge.rank, merge.left, merge.right); };
    std::sort(merges.begin(), merges.end(), [&](const ScoreMerge& a, const ScoreMerge& b) { return key(a) < key(b); });
    IdBuffer numbers;
    for (const ScoreMerge& merge : merges) {
      for (const uint32_t number : {merge.left, merge.right, merge.made}) numbers.push_back(number);
    }
    return numbers;
  }

  static Napi::Value parts_of(Napi::Env env, const FileVocabulary& read, const IdBuffer& numbers) {
    const Napi::Array array = Napi::Array::New(env, numbers.size() / 3 * 2);
    uint32_t at = 0;
    for (size_t i = 0; i < numbers.size(); i += 3) {
      const Napi::HandleScope scope(env);
      array.Set(at++, to_string(env, read.token(numbers[i])));
      array.Set(at++, to_string(env, read.token(numbers[i + 1])));
    }
    return array;
  }

  std::shared_ptr<const FileVocabulary> read_;
};

void init(Napi::Env env, Napi::Object exports) {
  const Napi::Function made = NativeJsonVocabulary::define(env);
  auto constructor = std::make_shared<Napi::FunctionReference>(Napi::Persistent(made));
  const auto give = [constructor](Napi::Env env, std::shared_ptr<const FileVocabulary> vocabulary) -> Napi::Value {
    if (vocabulary == nullptr) return env.Undefined();
    return constructor->New({Napi::External<std::shared_ptr<const FileVocabulary>>::New(env, &vocabulary)});
  };
  const auto read = [give](const Napi::CallbackInfo& info) {
    return guard(info, [&] { return give(info.Env(), read_json_vocabulary(to_view(info[0], "bytes"))); });
  };
  // Runs make() on another thread and wraps its result.
  const auto start = [give](Napi::Env env, std::function<std::shared_ptr<const FileVocabulary>()> make) {
    auto made = std::make_shared<std::shared_ptr<const FileVocabulary>>();
    return TokenizerJob::start(env, [make = std::move(make), made](TokenizerJob&) { *made = make(); },
        [give, made](Napi::Env here) { return give(here, *made); }, env.Undefined());
  };
  // Does the same as readJsonVocabulary on another thread. Other code must not change the bytes until the promise
  // settles.
  const auto start_read = [start](const Napi::CallbackInfo& info) {
    return guard(info, [&] {
      const std::string_view bytes = to_view(info[0], "bytes");
      const auto held = std::make_shared<Napi::ObjectReference>(Napi::Persistent(info[0].As<Napi::Object>()));
      return start(info.Env(), [bytes, held] { return read_json_vocabulary(bytes); });
    });
  };
  const auto make = [give](const Napi::CallbackInfo& info) {
    return guard(info, [&] { return give(info.Env(), make_listed_vocabulary(to_listed_vocabulary(info[0]))); });
  };
  const auto start_make = [start](const Napi::CallbackInfo& info) {
    return guard(info, [&] {
      auto listed = std::make_shared<ListedVocabulary>(to_listed_vocabulary(info[0]));
      return start(info.Env(), [listed = std::move(listed)] { return make_listed_vocabulary(std::move(*listed)); });
    });
  };
  const auto read_compiled = [give](const Napi::CallbackInfo& info) {
    return guard(info, [&] {
      return give(info.Env(), read_compiled_vocabulary(to_view(info[0], "bytes"), to_view(info[1], "source")));
    });
  };
  // bytesForFile(size) -> Uint8Array of zeros. When it is collected, its memory returns to the system at once.
  const auto bytes_for_file = [](const Napi::CallbackInfo& info) {
    return guard(info, [&]() -> Napi::Value {
      const size_t size = to_uint32(info[0], "size");
      const size_t taken = std::max<size_t>(1, size);
      void* memory = take_zeros(taken);
      if (memory == nullptr) throw std::bad_alloc();
      Napi::ArrayBuffer buffer;
      try {
        buffer = Napi::ArrayBuffer::New(
            info.Env(), memory, size, [taken](Napi::Env, void* given) { give_zeros(given, taken); });
      } catch (const Napi::Error&) {
        // Electron refuses buffers outside V8's own memory.
        give_zeros(memory, taken);
        buffer = new_array_buffer(info.Env(), size);
      } catch (...) {
        give_zeros(memory, taken);
        throw;
      }
      return Napi::Uint8Array::New(info.Env(), size, buffer, 0);
    });
  };
  // releaseBytes(bytes): detaches the buffer of `bytes`, which frees its memory.
  const auto release_bytes = [](const Napi::CallbackInfo& info) {
    return guard(info, [&]() -> Napi::Value {
      to_view(info[0], "bytes");
      Napi::ArrayBuffer buffer = info[0].As<Napi::Uint8Array>().ArrayBuffer();
      if (!buffer.IsDetached()) buffer.Detach();
      return info.Env().Undefined();
    });
  };
  exports.Set("bytesForFile", Napi::Function::New(env, bytes_for_file, "bytesForFile"));
  exports.Set("releaseBytes", Napi::Function::New(env, release_bytes, "releaseBytes"));
  exports.Set("startJsonVocabulary", Napi::Function::New(env, start_read, "startJsonVocabulary"));
  exports.Set("makeListedVocabulary", Napi::Function::New(env, make, "makeListedVocabulary"));
  exports.Set("startListedVocabulary", Napi::Function::New(env, start_make, "startListedVocabulary"));
  exports.Set("readJsonVocabulary", Napi::Function::New(env, read, "readJsonVocabulary"));
  exports.Set("readCompiledVocabulary", Napi::Function::New(env, read_compiled, "readCompiledVocabulary"));
}
BindingInit registered(init);

}  // namespace

std::shared_ptr<const FileVocabulary> to_file_vocabulary(const Napi::Value& value) {
  return value.IsUndefined() ? nullptr : NativeJsonVocabulary::from(value);
}

std::shared_ptr<const VocabularyTexts> texts_of(const std::shared_ptr<const FileVocabulary>& vocabulary) {
  return {vocabulary, &vocabulary->texts};
}

void share_file_vocabulary(const Napi::Value& value, const std::shared_ptr<const FileVocabulary>& vocabulary) {
  if (!value.IsUndefined() && vocabulary != nullptr) NativeJsonVocabulary::from(value) = vocabulary;
}

}  // namespace heddle
