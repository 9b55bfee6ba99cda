// Converts native exceptions to JavaScript errors.
#pragma once
#include <napi.h>

#include <exception>
#include <string>
#include <type_traits>

namespace heddle {

// The code (of lib/core/errors.ts) and the message of an exception. The exception may have any type.
struct Failure {
  const char* code;  // a string literal
  std::string message;
};
Failure describe_exception(const std::exception_ptr& exception) noexcept;

// Makes a HeddleError for promise rejections. Before lib/binding/index.ts has registered the class, it is a plain Error
// with `code`.
Napi::Value make_error(Napi::Env env, const char* code, const std::string& message);
Napi::Value make_error(Napi::Env env, const Failure& failure);

[[noreturn]] void throw_current_exception(Napi::Env env);  // only inside a catch block

// Every function that JavaScript can call runs its body inside guard():
//
//   Napi::Value encode(const Napi::CallbackInfo& info) {
//     return guard(info, [&] { return ...; });   // returns a Napi value or nothing
//   }
template <class F> Napi::Value guard(const Napi::CallbackInfo& info, F&& body) {
  try {
    if constexpr (std::is_void_v<std::invoke_result_t<F>>) {
      body();
      return info.Env().Undefined();
    } else {
      return body();
    }
  } catch (const Napi::Error&) {
    throw;  // already a JavaScript exception
  } catch (...) {
    throw_current_exception(info.Env());
  }
}

}  // namespace heddle
