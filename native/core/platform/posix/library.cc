#include "core/platform/library.h"

#include <dlfcn.h>

#include "core/error.h"

namespace heddle {

Library::Library(const char* what, const std::vector<std::string>& names) : what_(what) {
  for (const std::string& name : names)
    if (!handle_) handle_ = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!handle_) throw Error("UNSUPPORTED", std::string(what) + ", got " + dlerror());
}

void* Library::exported(const char* name) const { return dlsym(handle_, name); }

void* Library::symbol(const char* name) const {
  void* found = exported(name);
  if (!found) throw Error("UNSUPPORTED", std::string(what_) + ", got a library that does not export " + name);
  return found;
}

}  // namespace heddle
