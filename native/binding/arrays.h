// Allocates memory that JavaScript owns. Buffers of more than 1 MiB are allocated with JavaScript's constructor, which
// throws if memory is short. Node-API's own functions would end the process instead.
#pragma once
#include <napi.h>

namespace heddle {

// Returns an ArrayBuffer of zeros. Throws OUT_OF_MEMORY.
Napi::ArrayBuffer new_array_buffer(Napi::Env env, size_t bytes);
Napi::Uint32Array new_uint32_array(Napi::Env env, size_t count);

}  // namespace heddle
