// The JavaScript handle of a persistent tensor's memory.
#pragma once
#include <napi.h>

#include <memory>

#include "binding/handle.h"
#include "core/mapping.h"
#include "core/memory.h"

namespace heddle {

// class NativeTensor { constructor(bytes, lane?) | constructor(mappedFile, offset, bytes, lane?, rows?) |
// constructor(mappedTensor, lane, rows) | constructor(tensor, offset, bytes); bytes; dispose() }
class TensorHandle : public Handle<TensorHandle> {
 public:
  static const napi_type_tag tag;
  static constexpr const char* class_name = "NativeTensor";
  static Napi::Function define(Napi::Env env);
  explicit TensorHandle(const Napi::CallbackInfo& info);
  void Finalize(Napi::Env env) override { release(env); }

  std::shared_ptr<Storage> storage() const;  // throws DISPOSED

 private:
  Napi::Value bytes(const Napi::CallbackInfo& info);
  Napi::Value dispose(const Napi::CallbackInfo& info);
  void release(Napi::Env env);

  std::shared_ptr<Storage> storage_;
  std::shared_ptr<Mapping> file_;  // the mapped file, in which the tensor begins at file_offset_; null for a copy
  size_t file_offset_ = 0;
  int64_t reported_ = 0;  // bytes reported to the garbage collector
};

}  // namespace heddle
