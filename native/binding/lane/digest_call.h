// One call of JavaScript's NativeLane.crc32c: the checksum of bytes of an array or a file.
#pragma once
#include <napi.h>

#include <memory>
#include <vector>

#include "runtime/lane.h"
#include "core/mapping.h"

namespace heddle {

class DigestCall {
 public:
  // Reads crc32c(source, offset, bytes, before). If the source is an array, appends it to `keep`. Other code must not
  // change it until the call is done.
  DigestCall(const Napi::CallbackInfo& info, std::vector<Napi::Value>& keep);
  // Continues the checksum `before` over `bytes` bytes of the source (a MappedFile or an array), beginning at `offset`.
  // Runs on the lane's thread. Throws IO if a file cannot be read or has become shorter.
  uint32_t run(Lane& lane) const;

 private:
  std::shared_ptr<Mapping> file_;  // null: the source is an array
  const unsigned char* data_ = nullptr;
  size_t offset_ = 0, bytes_ = 0;
  uint32_t before_ = 0;
};

// crc32c(bytes: Uint8Array) -> number. Runs synchronously, for small arrays.
Napi::Value crc32c_binding(const Napi::CallbackInfo& info);

}  // namespace heddle
