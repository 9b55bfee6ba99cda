// The exception type of native code. The binding turns it into a HeddleError with the same code.
#pragma once
#include <exception>
#include <string>
#include <utility>

namespace heddle {

// `code` is one of the strings of HeddleErrorCode in lib/core/errors.ts. `message` reads "name: expected this, got
// that".
class Error : public std::exception {
 public:
  Error(const char* code, std::string message) : code_(code), message_(std::move(message)) {}
  const char* what() const noexcept override { return message_.c_str(); }
  const char* code() const noexcept { return code_; }

 private:
  const char* code_;  // a string literal
  std::string message_;
};

inline Error invalid_argument(std::string message) { return Error("INVALID_ARGUMENT", std::move(message)); }
inline Error shape_mismatch(std::string message) { return Error("SHAPE_MISMATCH", std::move(message)); }
inline Error invalid_file(std::string message) { return Error("INVALID_FILE", std::move(message)); }
inline Error internal_error(std::string message) { return Error("INTERNAL", std::move(message)); }

}  // namespace heddle
