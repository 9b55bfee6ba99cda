// A shared library that is opened at run time. It stays open until the process ends.
#pragma once
#include <string>
#include <vector>

namespace heddle {

class Library {
 public:
  // Opens the first of `names` that the system's loader finds. Throws UNSUPPORTED with the loader's message, which
  // begins with `what`.
  Library(const char* what, const std::vector<std::string>& names);

  // Returns a function of the library. Throws UNSUPPORTED if it does not export the name.
  template <class F> void find(const char* name, F& function) const { function = reinterpret_cast<F>(symbol(name)); }

 private:
  void* symbol(const char* name) const;
  const char* what_;
  void* handle_ = nullptr;
};

}  // namespace heddle
