// How the files of native/binding add their part to the module: each holds one static BindingInit.
//
//   static BindingInit registered(init_info);
#pragma once
#include <napi.h>

#include <vector>

namespace heddle {

class BindingInit {
 public:
  using Function = void (*)(Napi::Env, Napi::Object exports);
  explicit BindingInit(Function function) { all().push_back(function); }

  // Filled while the shared library loads and only read after that, from any number of worker threads.
  static std::vector<Function>& all() {
    static std::vector<Function> functions;
    return functions;
  }
};

}  // namespace heddle
