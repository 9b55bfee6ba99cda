// startProfile(), stopProfile(): times the operations of all runs in the process.
#include "runtime/profile.h"

#include <napi.h>

#include "binding/guard.h"
#include "binding/init.h"

namespace heddle {
namespace {

// Writes dtype, rank and dimensions of each operand into one flat list, as in a program's values.
Napi::Array operands(Napi::Env env, const std::vector<Profile::Operand>& list) {
  Napi::Array out = Napi::Array::New(env);
  for (const Profile::Operand& o : list) {
    out.Set(out.Length(), static_cast<int>(o.dtype));
    out.Set(out.Length(), o.shape.rank);
    for (int i = 0; i < o.shape.rank; ++i) out.Set(out.Length(), static_cast<double>(o.shape[i]));
  }
  return out;
}

// Stops the profile when the worker thread that started it ends, because profiling is process-wide.
void abandon(void*) { Profile::stop(); }

Napi::Value start(const Napi::CallbackInfo& info) {
  return guard(info, [&] {
    Profile::start();
    napi_add_env_cleanup_hook(info.Env(), abandon, nullptr);
  });
}

Napi::Value stop(const Napi::CallbackInfo& info) {
  return guard(info, [&] {
    napi_remove_env_cleanup_hook(info.Env(), abandon, nullptr);
    Napi::Array out = Napi::Array::New(info.Env());
    for (const Profile::Row& row : Profile::stop()) {
      Napi::Object object = Napi::Object::New(info.Env());
      object.Set("op", row.op);
      object.Set("kernel", row.kernel);
      object.Set("inputs", operands(info.Env(), row.inputs));
      object.Set("outputs", operands(info.Env(), row.outputs));
      object.Set("calls", static_cast<double>(row.calls));
      object.Set("seconds", row.seconds);
      out.Set(out.Length(), object);
    }
    return out;
  });
}

void init_profile(Napi::Env env, Napi::Object exports) {
  exports.Set("startProfile", Napi::Function::New<start>(env, "startProfile"));
  exports.Set("stopProfile", Napi::Function::New<stop>(env, "stopProfile"));
}
const BindingInit registered(init_profile);

}  // namespace
}  // namespace heddle
