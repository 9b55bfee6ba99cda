// quantiseFp8, dequantiseFp8: matrices of 8-bit floats in blocks of 128 x 128 (ops/fp8.h), for files and tests.
#include "ops/fp8.h"

#include <napi.h>

#include "binding/arrays.h"
#include "binding/guard.h"
#include "binding/init.h"
#include "binding/unwrap.h"
#include "runtime/error.h"

namespace heddle {
namespace {

// The matrix's sides of the arguments from `at` on, whose product is `elements`.
struct Sides {
  int64_t rows, columns;
  Sides(const Napi::CallbackInfo& info, size_t at, size_t elements) {
    rows = static_cast<int64_t>(integer(info[at], "rows", 1LL << 40));
    columns = static_cast<int64_t>(integer(info[at + 1], "columns", 1LL << 40));
    if (columns > 0 ? elements % static_cast<size_t>(columns) || static_cast<int64_t>(elements) / columns != rows : elements != 0)
      throw invalid_argument("fp8: expected (" + std::to_string(rows) + ", " + std::to_string(columns) + ") numbers, got " + std::to_string(elements));
  }
  size_t blocks() const { return static_cast<size_t>(fp8_blocks(rows) * fp8_blocks(columns)); }
};

// quantiseFp8(numbers: Float32Array, rows, columns) -> { bytes: ArrayBuffer, scales: ArrayBuffer }
Napi::Value quantise_binding(const Napi::CallbackInfo& info) {
  return guard(info, [&]() -> Napi::Value {
    if (!info[0].IsTypedArray() || info[0].As<Napi::TypedArray>().TypedArrayType() != napi_float32_array)
      throw invalid_argument("quantiseFp8: expected a Float32Array, got something else");
    const auto numbers = info[0].As<Napi::Float32Array>();
    const Sides sides(info, 1, numbers.ElementLength());
    Napi::ArrayBuffer bytes = new_array_buffer(info.Env(), numbers.ElementLength()), scales = new_array_buffer(info.Env(), sides.blocks() * sizeof(float));
    fp8_quantise(numbers.Data(), sides.rows, sides.columns, static_cast<uint8_t*>(bytes.Data()), static_cast<float*>(scales.Data()));
    Napi::Object result = Napi::Object::New(info.Env());
    result.Set("bytes", bytes);
    result.Set("scales", scales);
    return result;
  });
}

// dequantiseFp8(bytes: Uint8Array, scales: Float32Array, rows, columns) -> ArrayBuffer of f32
Napi::Value dequantise_binding(const Napi::CallbackInfo& info) {
  return guard(info, [&]() -> Napi::Value {
    if (!info[0].IsTypedArray() || info[0].As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array || !info[1].IsTypedArray() ||
        info[1].As<Napi::TypedArray>().TypedArrayType() != napi_float32_array)
      throw invalid_argument("dequantiseFp8: expected a Uint8Array and a Float32Array, got something else");
    const auto bytes = info[0].As<Napi::Uint8Array>();
    const auto scales = info[1].As<Napi::Float32Array>();
    const Sides sides(info, 2, bytes.ElementLength());
    if (scales.ElementLength() != sides.blocks())
      throw invalid_argument("dequantiseFp8: expected " + std::to_string(sides.blocks()) + " scales, got " + std::to_string(scales.ElementLength()));
    Napi::ArrayBuffer to = new_array_buffer(info.Env(), bytes.ElementLength() * sizeof(float));
    fp8_dequantise(bytes.Data(), scales.Data(), sides.rows, sides.columns, static_cast<float*>(to.Data()));
    return to;
  });
}

void init_fp8(Napi::Env env, Napi::Object exports) {
  exports.Set("quantiseFp8", Napi::Function::New(env, quantise_binding, "quantiseFp8"));
  exports.Set("dequantiseFp8", Napi::Function::New(env, dequantise_binding, "dequantiseFp8"));
}
BindingInit registered(init_fp8);

}  // namespace
}  // namespace heddle
