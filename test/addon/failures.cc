// Adds a function to the addon that throws each kind of exception that the binding must translate. Only in builds with
// HEDDLE_TEST_HOOKS (the sanitizer build).
#include <napi.h>

#include <new>
#include <stdexcept>

#include "binding/guard.h"
#include "binding/init.h"
#include "core/error.h"

namespace heddle {

static Napi::Value fail_for_test(const Napi::CallbackInfo& info) {
  return guard(info, [&] {
    const std::string kind = info[0].As<Napi::String>();
    if (kind == "heddle") throw invalid_file("x: expected a, got b");
    if (kind == "bad_alloc") throw std::bad_alloc();
    if (kind == "std") throw std::runtime_error("reason");
    if (kind == "int") throw 3;
    if (kind == "javascript") throw Napi::RangeError::New(info.Env(), "range");
  });
}

static void init_failures(Napi::Env env, Napi::Object exports) {
  exports.Set("failForTest", Napi::Function::New(env, fail_for_test, "failForTest"));
}
static BindingInit registered(init_failures);

}  // namespace heddle
