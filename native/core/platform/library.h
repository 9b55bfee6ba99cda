// A shared library that is opened at run time. It stays open until the process ends.
#pragma once
#include <string>
#include <vector>

namespace heddle {

class Library {
 public:
  // Opens the first of `names` that the system's loader finds. Throws UNSUPPORTED with `what` and the loader's message.
  // `what` must outlive the Library.
  Library(const char* what, const std::vector<std::string>& names);

  // Returns a function of the library. Throws UNSUPPORTED if it does not export the name.
  template <class F> void find(const char* name, F& function) const { function = reinterpret_cast<F>(symbol(name)); }
  // Returns the address of an object of the library. Throws UNSUPPORTED if it does not export the name.
  void find_object(const char* name, void*& object) const { object = symbol(name); }
  bool has(const char* name) const { return exported(name) != nullptr; }

 private:
  void* exported(const char* name) const;  // null if the library does not export the name
  void* symbol(const char* name) const;
  const char* what_;
  void* handle_ = nullptr;
};

}  // namespace heddle
