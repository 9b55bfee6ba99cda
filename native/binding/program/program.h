// The JavaScript handles of programs and executables.
#pragma once
#include <napi.h>

#include <memory>

#include "binding/handle.h"
#include "runtime/executable.h"

namespace heddle {

// class NativeProgram { constructor(description); readonly arenaBytes }: see ProgramDescription in
// lib/binding/graph.ts.
class ProgramHandle : public Handle<ProgramHandle> {
 public:
  static const napi_type_tag tag;
  static constexpr const char* class_name = "NativeProgram";
  static Napi::Function define(Napi::Env env);
  explicit ProgramHandle(const Napi::CallbackInfo& info);
  std::shared_ptr<Program> program() const { return program_; }

 private:
  Napi::Value arena_bytes(const Napi::CallbackInfo& info);
  std::shared_ptr<Program> program_;
};

// class NativeExecutable { constructor(program, tensors, lane?); readonly deviceSeconds, waitedSeconds,
// recordings; dispose() }
class ExecutableHandle : public Handle<ExecutableHandle> {
 public:
  static const napi_type_tag tag;
  static constexpr const char* class_name = "NativeExecutable";
  static Napi::Function define(Napi::Env env);
  explicit ExecutableHandle(const Napi::CallbackInfo& info);
  std::shared_ptr<Executable> executable() const;  // throws DISPOSED

 private:
  Napi::Value device_seconds(const Napi::CallbackInfo& info);
  Napi::Value waited_seconds(const Napi::CallbackInfo& info);
  Napi::Value recordings(const Napi::CallbackInfo& info);
  Napi::Value dispose(const Napi::CallbackInfo& info);
  std::shared_ptr<Executable> executable_;
};

}  // namespace heddle
