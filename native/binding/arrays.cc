#include "binding/arrays.h"

#include <string>

#include "core/error.h"

namespace heddle {

Napi::ArrayBuffer new_array_buffer(Napi::Env env, size_t bytes) {
  // Node-API aborts the process if an allocation fails, so larger buffers are allocated through JavaScript.
  constexpr size_t small = 1 << 20;
  if (bytes <= small) return Napi::ArrayBuffer::New(env, bytes);
  const auto failed = [&] {
    return Error(
        "OUT_OF_MEMORY", "out of memory: cannot allocate an ArrayBuffer of " + std::to_string(bytes) + " bytes");
  };
  const Napi::Value constructor = env.Global().Get("ArrayBuffer");
  if (!constructor.IsFunction()) throw failed();
  Napi::Value made;
  try {
    made = constructor.As<Napi::Function>().New({Napi::Number::New(env, static_cast<double>(bytes))});
  } catch (const Napi::Error&) {
    throw failed();
  }
  if (!made.IsArrayBuffer() || made.As<Napi::ArrayBuffer>().ByteLength() != bytes) throw failed();
  return made.As<Napi::ArrayBuffer>();
}

Napi::Uint32Array new_uint32_array(Napi::Env env, size_t count) {
  return Napi::Uint32Array::New(env, count, new_array_buffer(env, count * sizeof(uint32_t)), 0);
}

}  // namespace heddle
