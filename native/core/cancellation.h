// Cancellation of work by another thread.
#pragma once
#include <atomic>

#include "core/error.h"

namespace heddle {

// Work that can be canceled checks at intervals whether one of up to two flags is set. Work without a flag always runs
// to its end. The flags and the message must live as long as the object and its copies.
class Cancellation {
 public:
  Cancellation() = default;
  // The error has the text `message`. Either flag may be null.
  Cancellation(const char* message, const std::atomic<bool>* flag, const std::atomic<bool>* other = nullptr)
      : message_(message), flag_(flag), other_(other) {}

  bool requested() const { return is_set(flag_) || is_set(other_); }
  // The error ABORTED. Call it only if cancellation has been requested.
  Error error() const { return Error("ABORTED", message_); }
  // Throws ABORTED if cancellation has been requested.
  void check() const {
    if (requested()) throw error();
  }

 private:
  static bool is_set(const std::atomic<bool>* flag) { return flag && flag->load(std::memory_order_relaxed); }

  const char* message_ = "";  // a string literal
  const std::atomic<bool>* flag_ = nullptr;
  const std::atomic<bool>* other_ = nullptr;
};

}  // namespace heddle
