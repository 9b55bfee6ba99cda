// The one place where native failures become JavaScript errors.
#pragma once
#include <napi.h>

#include <exception>
#include <string>
#include <type_traits>

namespace heddle {

// An exception as (code of lib/core/errors.ts, message). Accepts any exception, including non-std ones.
struct Failure {
  const char* code;  // always a literal
  std::string message;
};
Failure describe_exception(const std::exception_ptr& exception) noexcept;

// A HeddleError (an Error with `code` before lib/binding/index.ts has registered the class): for promise rejections.
Napi::Value make_error(Napi::Env env, const char* code, const std::string& message);
Napi::Value make_error(Napi::Env env, const Failure& failure);

[[noreturn]] void throw_current_exception(Napi::Env env);  // only inside a catch block

// Every function that JavaScript can call runs inside this:
//
//   Napi::Value encode(const Napi::CallbackInfo& info) {
//     return guard(info, [&] { return ...; });   // a Napi value, or nothing
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
