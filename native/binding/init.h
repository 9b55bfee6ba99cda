// Each file of native/binding registers its part of the module with one static BindingInit.
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

  // Filled while the shared library loads. Later only read, by any number of worker threads.
  static std::vector<Function>& all() {
    static std::vector<Function> functions;
    return functions;
  }
};

}  // namespace heddle
