// Converts flags, options, texts and arrays of ids between JavaScript and the tokenizer.
#include <algorithm>
#include <string>
#include <vector>

#include "binding/arrays.h"
#include "binding/tokenizer/tokenizer.h"
#include "core/error.h"
#include "tokenizer/text/utf.h"

namespace heddle {

uint32_t to_uint32(const Napi::Value& value, const char* name) {
  const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : -1;
  if (!(number >= 0 && number <= 4294967295.0))
    throw invalid_argument(std::string(name) + ": expected a number from 0 to 2^32-1, got something else");
  return static_cast<uint32_t>(number);
}

EncodeOptions to_options(uint32_t flags) {
  EncodeOptions options;
  options.add_special = flags & flag_add_special;
  options.allow_special = flags & flag_allow_special;
  options.add_prefix = (flags & flag_no_prefix) == 0;
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
  if (!(extras.dropout >= 0 && extras.dropout < 1))
    throw invalid_argument(
        "dropout: expected a number of at least 0 and below 1, got " + std::to_string(extras.dropout));
  const Napi::Value seed = object.Get("seed");
  if (seed.IsNumber()) extras.seed = static_cast<uint64_t>(seed.As<Napi::Number>().Int64Value());
  const Napi::Value most = object.Get("most");
  if (most.IsNumber()) extras.most = most.As<Napi::Number>().Uint32Value();
  extras.barriers = to_uint32s(object.Get("barriers"), "barriers");
  return extras;
}

void EncodeExtras::apply(EncodeOptions& options) const {
  if (has_allowed) options.allowed_ids = &allowed;
  options.dropout = dropout;
  options.seed = seed;
  options.most_ids = most;
}

void read_utf16(const Napi::Value& value, const char* name, std::u16string& out) {
  if (!value.IsString()) throw invalid_argument(std::string(name) + ": expected a string, got something else");
  const Napi::Env env = value.Env();
  size_t length = 0;
  if (napi_get_value_string_utf16(env, value, nullptr, 0, &length) != napi_ok) throw Napi::Error::New(env);
  out.resize(length + 1);  // Node-API writes a terminator
  if (napi_get_value_string_utf16(env, value, out.data(), length + 1, &length) != napi_ok) throw Napi::Error::New(env);
  out.resize(length);
}

std::u16string to_utf16(const Napi::Value& value, const char* name) {
  std::u16string text;
  if (!value.IsUndefined()) read_utf16(value, name, text);
  return text;
}

std::string to_utf8(const Napi::Value& value, const char* name) {
  std::u16string text = to_utf16(value, name);
  std::string out;
  utf::append_utf8(text.data(), text.size(), out);
  return out;
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

Napi::Value to_strings(Napi::Env env, std::string_view text, const IdBuffer& lengths) {
  const Napi::Array array = Napi::Array::New(env, lengths.size());
  size_t at = 0;
  for (size_t i = 0; i < lengths.size(); ++i) {
    const Napi::HandleScope scope(env);
    array.Set(static_cast<uint32_t>(i), to_string(env, text.substr(at, lengths[i])));
    at += lengths[i];
  }
  return array;
}

Error string_too_long(Napi::Env env, size_t bytes) {
  if (env.IsExceptionPending()) env.GetAndClearPendingException();
  return {
      "OUT_OF_MEMORY", "text: expected a text that fits a JavaScript string, got " + std::to_string(bytes) + " bytes"};
}

Napi::Value to_string(Napi::Env env, std::string_view utf8) {
  napi_value result;
  if (napi_create_string_utf8(env, utf8.data(), utf8.size(), &result) != napi_ok)
    throw string_too_long(env, utf8.size());
  return {env, result};
}

}  // namespace heddle
