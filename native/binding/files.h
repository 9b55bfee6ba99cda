// The JavaScript handle of a mapped file, for the parts of the binding that make tensors on top of it.
#pragma once
#include <napi.h>

#include <memory>

#include "core/mapping.h"
#include "core/tensor.h"

namespace heddle {

// The type of a number of DTYPES. Throws INVALID_ARGUMENT for all but floating and quantised ones.
DType number_type(const Napi::Value& value, const char* name);

// In JavaScript: class MappedFile { constructor(path); size; bytes(offset, length); check(); close() }.
class MappedFile : public Napi::ObjectWrap<MappedFile> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit MappedFile(const Napi::CallbackInfo& info);

  // Returns the mapping of a MappedFile. Throws Error INVALID_ARGUMENT for other values, and DISPOSED after close(). A
  // tensor that keeps the pointer keeps the mapping: close() only releases JavaScript's reference.
  static std::shared_ptr<Mapping> mapping(const Napi::Value& value);

 private:
  Napi::Value size(const Napi::CallbackInfo& info);
  Napi::Value bytes(const Napi::CallbackInfo& info);
  Napi::Value check(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info);

  std::shared_ptr<Mapping> mapping_;  // null after close()
};

}  // namespace heddle
