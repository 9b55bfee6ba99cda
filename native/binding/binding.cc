// Entry point of the module: runs every registered initializer.
#include <napi.h>

#include "binding/addon_data.h"
#include "binding/guard.h"
#include "binding/init.h"
#include "core/error.h"

namespace heddle {

static Napi::Value set_error_constructor(const Napi::CallbackInfo& info) {
  return guard(info, [&] {
    if (!info[0].IsFunction()) throw invalid_argument("setErrorConstructor: expected a class, got something else");
    info.Env().GetInstanceData<AddonData>()->error_constructor = Napi::Persistent(info[0].As<Napi::Function>());
  });
}

static Napi::Object initialize(Napi::Env env, Napi::Object exports) {
  env.SetInstanceData(new AddonData());
  exports.Set("setErrorConstructor", Napi::Function::New(env, set_error_constructor, "setErrorConstructor"));
  for (const BindingInit::Function init : BindingInit::all()) init(env, exports);
  return exports;
}

}  // namespace heddle

static Napi::Object heddle_initialize(Napi::Env env, Napi::Object exports) { return heddle::initialize(env, exports); }
NODE_API_MODULE(heddle, heddle_initialize)
