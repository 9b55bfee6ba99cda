#include "core/platform/library.h"

#include "core/error.h"
#include "core/platform/windows/api.h"

namespace heddle {

Library::Library(const char* what, const std::vector<std::string>& names) : what_(what) {
  for (const std::string& name : names)
    if (!handle_) handle_ = reinterpret_cast<void*>(LoadLibraryW(wide(name).c_str()));
  if (!handle_) throw Error("UNSUPPORTED", std::string(what) + ", got " + system_message(GetLastError()));
}

void* Library::exported(const char* name) const {
  return reinterpret_cast<void*>(GetProcAddress(reinterpret_cast<HMODULE>(handle_), name));
}

void* Library::symbol(const char* name) const {
  void* found = exported(name);
  if (!found) throw Error("UNSUPPORTED", std::string(what_) + ", got a library that does not export " + name);
  return found;
}

}  // namespace heddle
