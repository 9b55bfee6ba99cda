// The addon's state per JavaScript environment (main thread or worker), so that workers never share a handle.
#pragma once
#include <napi.h>

namespace heddle {

struct AddonData {
  Napi::FunctionReference error_constructor;  // HeddleError, set by lib/binding/index.ts right after loading
};

}  // namespace heddle
