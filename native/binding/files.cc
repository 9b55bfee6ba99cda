// MappedFile, blockTypes, crc32c and castElements: file access and number formats for lib/formats.
#include "binding/files.h"

#include <cmath>
#include <string>

#include "binding/arrays.h"
#include "binding/guard.h"
#include "binding/init.h"
#include "binding/lane/digest_call.h"
#include "binding/unwrap.h"
#include "ops/quant.h"
#include "ops/element_cast.h"
#include "core/error.h"

namespace heddle {
namespace {

// castElements(bytes: Uint8Array, from, to, addend) -> { bytes: ArrayBuffer, overflows }
Napi::Value cast_binding(const Napi::CallbackInfo& info) {
  return guard(info, [&]() -> Napi::Value {
    const Napi::Env env = info.Env();
    if (!info[0].IsTypedArray() || info[0].As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array) {
      throw invalid_argument("castElements: expected a Uint8Array, got something else");
    }
    const auto from = info[0].As<Napi::Uint8Array>();
    const DType from_type = number_type(info[1], "castElements: from");
    const DType to_type = number_type(info[2], "castElements: to");
    const double addend = info[3].IsNumber() ? info[3].As<Napi::Number>().DoubleValue() : 0.0;
    const size_t width = is_quantized(from_type) ? block_type(from_type).bytes : dtype_bytes(from_type);
    if (from.ByteLength() % width != 0) {
      throw invalid_argument("castElements: expected a multiple of " + std::to_string(width) + " bytes, got " +
                             std::to_string(from.ByteLength()));
    }
    const size_t count = from.ByteLength() / width * (is_quantized(from_type) ? block_type(from_type).elements : 1);
    if (is_quantized(to_type) && count % block_type(to_type).elements)
      throw invalid_argument("castElements: expected a multiple of " + std::to_string(block_type(to_type).elements) +
                             " elements for " + dtype_name(to_type) + ", got " + std::to_string(count));
    Napi::ArrayBuffer to = new_array_buffer(env, bytes_of_elements(to_type, static_cast<int64_t>(count)));
    const int64_t overflows = cast_elements(from.Data(), from_type, static_cast<uint8_t*>(to.Data()), to_type,
        static_cast<int64_t>(count), static_cast<float>(addend));
    Napi::Object result = Napi::Object::New(env);
    result.Set("bytes", to);
    result.Set("overflows", static_cast<double>(overflows));
    return result;
  });
}

// blockTypes() -> [{ name, elements, bytes, writable }], in the order of the type numbers after u8. lib/graph/dtype.ts
// must have the same list.
Napi::Value block_types_binding(const Napi::CallbackInfo& info) {
  return guard(info, [&]() -> Napi::Value {
    Napi::Array list = Napi::Array::New(info.Env());
    for (int t = static_cast<int>(DType::u8) + 1; t < static_cast<int>(DType::count); ++t) {
      const BlockType& type = block_type(static_cast<DType>(t));
      Napi::Object row = Napi::Object::New(info.Env());
      row.Set("name", type.name);
      row.Set("elements", type.elements);
      row.Set("bytes", type.bytes);
      row.Set("writable", quantizes_to(static_cast<DType>(t)));
      list.Set(list.Length(), row);
    }
    return list;
  });
}

void init_files(Napi::Env env, Napi::Object exports) {
  exports.Set("MappedFile", MappedFile::define(env));
  exports.Set("blockTypes", Napi::Function::New(env, block_types_binding, "blockTypes"));
  exports.Set("crc32c", Napi::Function::New(env, crc32c_binding, "crc32c"));
  exports.Set("castElements", Napi::Function::New(env, cast_binding, "castElements"));
}
BindingInit registered(init_files);

}  // namespace

DType number_type(const Napi::Value& value, const char* name) {
  const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : -1;
  const bool known = number >= 0 && number < static_cast<int>(DType::count) && number == std::floor(number);
  const DType type = known ? static_cast<DType>(static_cast<int>(number)) : DType::u8;
  if (type == DType::i32 || type == DType::u8)
    throw invalid_argument(
        std::string(name) + ": expected the number of a floating-point or quantized type, got something else");
  return type;
}

Napi::Function MappedFile::define(Napi::Env env) {
  return DefineClass(env, class_name,
      {InstanceAccessor<&MappedFile::size>("size"), InstanceMethod<&MappedFile::bytes>("bytes"),
          InstanceMethod<&MappedFile::text>("text"), InstanceMethod<&MappedFile::check>("check"),
          InstanceMethod<&MappedFile::close>("close")});
}

MappedFile::MappedFile(const Napi::CallbackInfo& info) : Handle(info) {
  guard(info, [&] {
    if (!info[0].IsString()) throw invalid_argument("path: expected a file name, got something else");
    mapping_ = Mapping::open(info[0].As<Napi::String>().Utf8Value());
    info.This().As<Napi::Object>().TypeTag(&tag);
  });
}

std::shared_ptr<Mapping> MappedFile::mapping(const Napi::Value& value) {
  if (!value.IsObject() || !value.As<Napi::Object>().CheckTypeTag(&tag)) {
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
    const auto offset = static_cast<size_t>(integer(info[0], "offset"));
    const auto length = static_cast<size_t>(integer(info[1], "length"));
    file->check_range(offset, length);  // before allocation: a wrong length must not allocate
    Napi::ArrayBuffer buffer = new_array_buffer(info.Env(), length);
    file->read(offset, length, buffer.Data());
    return buffer;
  });
}

Napi::Value MappedFile::text(const Napi::CallbackInfo& info) {
  return guard(info, [&]() -> Napi::Value {
    const std::shared_ptr<Mapping> file = mapping(info.This());
    const auto offset = static_cast<size_t>(integer(info[0], "offset"));
    const auto length = static_cast<size_t>(integer(info[1], "length"));
    file->check_range(offset, length);  // before allocation: a wrong length must not allocate
    std::string bytes(length, '\0');
    file->read(offset, length, bytes.data());
    return Napi::String::New(info.Env(), bytes);
  });
}

Napi::Value MappedFile::check(const Napi::CallbackInfo& info) {
  return guard(info, [&] { mapping(info.This())->check(); });
}

Napi::Value MappedFile::close(const Napi::CallbackInfo& info) {
  return guard(info, [&] {
    if (!info.This().As<Napi::Object>().CheckTypeTag(&tag)) {
      throw invalid_argument("file: expected a MappedFile, got something else");
    }
    Unwrap(info.This().As<Napi::Object>())->mapping_.reset();  // close() may be called twice
  });
}

}  // namespace heddle
