// mapFile and castElements: what lib/formats needs of the operating system and of number formats.
#include "binding/files.h"

#include <cmath>
#include <string>

#include "binding/guard.h"
#include "binding/init.h"
#include "runtime/element_cast.h"
#include "runtime/error.h"

namespace heddle {
namespace {

// Methods check it, so that one borrowed for another object (`MappedFile.prototype.bytes.call({})`) throws.
constexpr napi_type_tag mapped_file_tag = {0x6f1d6b0b5c2f4e8aULL, 0x9a7c31e5d0b84f26ULL};
constexpr double max_exact = 9007199254740991.0;  // 2^53 - 1

size_t to_size(const Napi::Value& value, const char* name) {
  const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : -1;
  if (!(number >= 0 && number <= max_exact) || number != std::floor(number)) {
    throw invalid_argument(std::string(name) + ": expected a whole number of bytes, got something else");
  }
  return static_cast<size_t>(number);
}

DType to_dtype(const Napi::Value& value, const char* name) {
  const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : -1;
  if (number == 0) return DType::f32;
  if (number == 1) return DType::bf16;
  if (number == 2) return DType::f16;
  throw invalid_argument(std::string(name) + ": expected 0 (f32), 1 (bf16) or 2 (f16), got something else");
}

// castElements(bytes: Uint8Array, from, to, addend) -> { bytes: ArrayBuffer, overflows }
Napi::Value cast_binding(const Napi::CallbackInfo& info) {
  return guard(info, [&]() -> Napi::Value {
    const Napi::Env env = info.Env();
    if (!info[0].IsTypedArray() || info[0].As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array) {
      throw invalid_argument("castElements: expected a Uint8Array, got something else");
    }
    const auto from = info[0].As<Napi::Uint8Array>();
    const DType from_type = to_dtype(info[1], "castElements: from");
    const DType to_type = to_dtype(info[2], "castElements: to");
    const double addend = info[3].IsNumber() ? info[3].As<Napi::Number>().DoubleValue() : 0.0;
    const size_t width = dtype_bytes(from_type);
    if (from.ByteLength() % width != 0) {
      throw invalid_argument("castElements: expected a multiple of " + std::to_string(width) + " bytes, got " +
                             std::to_string(from.ByteLength()));
    }
    const size_t count = from.ByteLength() / width;
    Napi::ArrayBuffer to = Napi::ArrayBuffer::New(env, count * dtype_bytes(to_type));
    const int64_t overflows = cast_elements(from.Data(), from_type, static_cast<uint8_t*>(to.Data()), to_type,
                                            static_cast<int64_t>(count), static_cast<float>(addend));
    Napi::Object result = Napi::Object::New(env);
    result.Set("bytes", to);
    result.Set("overflows", static_cast<double>(overflows));
    return result;
  });
}

void init_files(Napi::Env env, Napi::Object exports) {
  exports.Set("MappedFile", MappedFile::define(env));
  exports.Set("castElements", Napi::Function::New(env, cast_binding, "castElements"));
}
BindingInit registered(init_files);

}  // namespace

Napi::Function MappedFile::define(Napi::Env env) {
  return DefineClass(env, "MappedFile",
                     {InstanceAccessor<&MappedFile::size>("size"), InstanceMethod<&MappedFile::bytes>("bytes"),
                      InstanceMethod<&MappedFile::check>("check"), InstanceMethod<&MappedFile::close>("close")});
}

MappedFile::MappedFile(const Napi::CallbackInfo& info) : Napi::ObjectWrap<MappedFile>(info) {
  guard(info, [&] {
    if (!info[0].IsString()) throw invalid_argument("path: expected a file name, got something else");
    mapping_ = Mapping::open(info[0].As<Napi::String>().Utf8Value());
    info.This().As<Napi::Object>().TypeTag(&mapped_file_tag);
  });
}

std::shared_ptr<Mapping> MappedFile::mapping(const Napi::Value& value) {
  if (!value.IsObject() || !value.As<Napi::Object>().CheckTypeTag(&mapped_file_tag)) {
    throw invalid_argument("file: expected a MappedFile, got something else");
  }
  const std::shared_ptr<Mapping>& mapping = Unwrap(value.As<Napi::Object>())->mapping_;
  if (!mapping) throw Error("DISPOSED", "MappedFile: used after close()");
  return mapping;
}

Napi::Value MappedFile::size(const Napi::CallbackInfo& info) {
  return guard(info, [&]() -> Napi::Value {
    return Napi::Number::New(info.Env(), static_cast<double>(mapping(info.This())->size()));
  });
}

Napi::Value MappedFile::bytes(const Napi::CallbackInfo& info) {
  return guard(info, [&]() -> Napi::Value {
    const std::shared_ptr<Mapping> file = mapping(info.This());
    const size_t offset = to_size(info[0], "offset");
    const size_t length = to_size(info[1], "length");
    file->check_range(offset, length);  // before the buffer is made: a lying length must not allocate
    Napi::ArrayBuffer buffer = Napi::ArrayBuffer::New(info.Env(), length);
    file->read(offset, length, buffer.Data());
    return buffer;
  });
}

Napi::Value MappedFile::check(const Napi::CallbackInfo& info) {
  return guard(info, [&] { mapping(info.This())->check(); });
}

Napi::Value MappedFile::close(const Napi::CallbackInfo& info) {
  return guard(info, [&] {
    if (!info.This().As<Napi::Object>().CheckTypeTag(&mapped_file_tag)) {
      throw invalid_argument("file: expected a MappedFile, got something else");
    }
    Unwrap(info.This().As<Napi::Object>())->mapping_.reset();  // closing twice is harmless
  });
}

}  // namespace heddle
