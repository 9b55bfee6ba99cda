// Runs tokenizer work off the JavaScript thread. Each job starts a separate thread instead of using libuv's pool.
#pragma once
#include <napi.h>

#include <atomic>
#include <functional>
#include <memory>

#include "core/cancellation.h"

namespace heddle {

// A running tokenizer job. Its work function uses this interface on the job's thread.
class TokenizerJob {
 public:
  virtual ~TokenizerJob() = default;
  virtual void report(double done, double total) = 0;  // schedules progress(done, total) on the JavaScript thread

  // Cancels the work when the program cancels the job. The error has the text `message`.
  Cancellation cancellation(const char* message) const { return Cancellation(message, canceled_.get()); }

  // Runs on the job's thread. An exception rejects the promise.
  using Work = std::function<void(TokenizerJob&)>;
  // Runs on the JavaScript thread afterwards. Returns the value of the promise.
  using Result = std::function<Napi::Value(Napi::Env)>;

  // Starts the job and returns { promise, cancel() }. `progress` is a function or undefined.
  static Napi::Value start(Napi::Env env, Work work, Result result, const Napi::Value& progress);

 protected:
  std::shared_ptr<std::atomic<bool>> canceled_ = std::make_shared<std::atomic<bool>>(false);
};

}  // namespace heddle
