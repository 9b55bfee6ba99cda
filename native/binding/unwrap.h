// Converts JavaScript values to native handles, integers and bytes. A handle that is passed as an argument is
// recognized by its type tag, so a value of another class throws.
#pragma once
#include <napi.h>

#include <cstdio>
#include <string>

#include "core/error.h"

namespace heddle {

// T is a Handle with `static const napi_type_tag tag` and `static constexpr const char* class_name`.
template <class T> bool is_a(const Napi::Value& value) {
  return value.IsObject() && value.As<Napi::Object>().CheckTypeTag(&T::tag);
}
template <class T> T& unwrap(const Napi::Value& value, const char* name) {
  if (is_a<T>(value)) return *Napi::ObjectWrap<T>::Unwrap(value.As<Napi::Object>());
  throw invalid_argument(std::string(name) + ": expected a " + T::class_name + ", got another value");
}

// Returns an integer within [0, most]. Throws for other numbers and other types.
inline int64_t integer(const Napi::Value& value, const char* name, double most = 9007199254740991.0) {
  const double d = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : -1;
  if (!(d >= 0 && d <= most) || d != static_cast<double>(static_cast<int64_t>(d))) {
    char got[32] = "another type";
    if (value.IsNumber()) std::snprintf(got, sizeof got, "%.16g", d);
    throw invalid_argument(std::string(name) + ": expected an integer from 0 to " +
                           std::to_string(static_cast<int64_t>(most)) + ", got " + got);
  }
  return static_cast<int64_t>(d);
}

struct ByteView {
  unsigned char* data;
  size_t bytes;
};

// Returns the bytes of a typed array or ArrayBuffer. A typed array may be in shared memory.
inline ByteView byte_view(const Napi::Value& value, const char* name) {
  if (value.IsTypedArray()) {
    void* data = nullptr;
    if (napi_get_typedarray_info(value.Env(), value, nullptr, nullptr, &data, nullptr, nullptr) != napi_ok)
      throw Napi::Error::New(value.Env());
    return {static_cast<unsigned char*>(data), value.As<Napi::TypedArray>().ByteLength()};
  }
  if (value.IsArrayBuffer()) {
    Napi::ArrayBuffer a = value.As<Napi::ArrayBuffer>();
    return {static_cast<unsigned char*>(a.Data()), a.ByteLength()};
  }
  throw invalid_argument(std::string(name) + ": expected a typed array, got another value");
}

}  // namespace heddle
