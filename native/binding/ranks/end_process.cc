// endProcess(code): ends the process without an ordinary exit. An ordinary exit may wait forever for a thread in a call
// of NCCL, which waits for a lost rank.
#include <napi.h>

#include <cstdlib>

#include "binding/guard.h"
#include "binding/init.h"
#include "binding/unwrap.h"

namespace heddle {

static Napi::Value end_process(const Napi::CallbackInfo& info) {
  return guard(info, [&] { std::_Exit(static_cast<int>(integer(info[0], "code", 255))); });
}

static void init_end_process(Napi::Env env, Napi::Object exports) {
  exports.Set("endProcess", Napi::Function::New(env, end_process, "endProcess"));
}
static BindingInit registered(init_end_process);

}  // namespace heddle
