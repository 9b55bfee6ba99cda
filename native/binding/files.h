// The JavaScript handle of a mapped file. Other parts of the binding create tensors from it.
#pragma once
#include <napi.h>

#include <memory>

#include "binding/handle.h"
#include "core/mapping.h"
#include "core/tensor.h"

namespace heddle {

// Returns the DType for an index into DTYPES. Throws INVALID_ARGUMENT unless it is a floating-point or quantized type.
DType number_type(const Napi::Value& value, const char* name);

// In JavaScript: class MappedFile { constructor(path); size; bytes(offset, length); text(offset, length); check();
// close() }.
class MappedFile : public Handle<MappedFile> {
 public:
  static constexpr napi_type_tag tag = {0x6f1d6b0b5c2f4e8aULL, 0x9a7c31e5d0b84f26ULL};
  static constexpr const char* class_name = "MappedFile";
  static Napi::Function define(Napi::Env env);
  explicit MappedFile(const Napi::CallbackInfo& info);

  // Returns the mapping of a MappedFile. Throws Error INVALID_ARGUMENT for other values, and DISPOSED after close(). A
  // tensor that keeps the pointer keeps the mapping: close() only releases JavaScript's reference.
  static std::shared_ptr<Mapping> mapping(const Napi::Value& value);

 private:
  Napi::Value size(const Napi::CallbackInfo& info);
  Napi::Value bytes(const Napi::CallbackInfo& info);
  Napi::Value text(const Napi::CallbackInfo& info);
  Napi::Value check(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info);

  std::shared_ptr<Mapping> mapping_;  // null after close()
};

}  // namespace heddle
