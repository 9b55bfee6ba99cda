#include "binding/tokenizer/job.h"

#include <exception>
#include <set>
#include <thread>
#include <utility>

#include "binding/guard.h"
#include "core/error.h"

namespace heddle {
namespace {

class Running;

// The jobs of one environment. All are canceled and joined before the environment closes.
class Jobs {
 public:
  static Jobs& here(Napi::Env env) {
    std::unique_ptr<Jobs>& jobs = instance();
    if (!jobs) {
      jobs.reset(new Jobs());
      if (napi_add_env_cleanup_hook(env, [](void*) { instance().reset(); }, nullptr) != napi_ok) {
        jobs.reset();
        throw Napi::Error::New(env);
      }
    }
    return *jobs;
  }
  ~Jobs();
  Running& add(std::unique_ptr<Running> job);
  std::unique_ptr<Running> remove(Running* job);

 private:
  static std::unique_ptr<Jobs>& instance() {
    thread_local std::unique_ptr<Jobs> jobs;
    return jobs;
  }
  std::set<std::unique_ptr<Running>> jobs_;
};

class Running : public TokenizerJob {
 public:
  Running(Napi::Env env, Work work, Result result, const Napi::Value& progress)
      : work_(std::move(work)), result_(std::move(result)), deferred_(Napi::Promise::Deferred::New(env)) {
    if (progress.IsFunction()) progress_ = Napi::Persistent(progress.As<Napi::Function>());
    channel_ = Napi::ThreadSafeFunction::New(env, Napi::Function(), "heddle tokenizer", 0, 1);
  }
  ~Running() override {
    *canceled_ = true;
    if (thread_.joinable()) thread_.join();
  }

  void start() {
    try {
      thread_ = std::thread([this] { run(); });
    } catch (...) {
      channel_.Release();
      throw;
    }
  }

  void report(double done, double total) override {
    channel_.NonBlockingCall([this, done, total](Napi::Env env, Napi::Function) {
      if (progress_.IsEmpty()) return;
      try {
        progress_.Call({Napi::Number::New(env, done), Napi::Number::New(env, total)});
      } catch (Napi::Error& error) {  // the callback threw: stop, and reject with that exception
        // Moved, because a copy would reject with the wrong value if the callback threw a primitive.
        if (thrown_.IsEmpty()) thrown_ = std::move(error);
        *canceled_ = true;
      }
    });
  }

  Napi::Value handle(Napi::Env env) const {
    const Napi::Object handle = Napi::Object::New(env);
    handle.Set("promise", deferred_.Promise());
    handle.Set(
        "cancel", Napi::Function::New(env, [flag = canceled_](const Napi::CallbackInfo&) { *flag = true; }, "cancel"));
    return handle;
  }

 private:
  void run() {
    try {
      work_(*this);
    } catch (...) {
      failure_ = std::current_exception();
    }
    // This call fails while the environment closes. The cleanup hook then joins and deletes the job.
    channel_.NonBlockingCall([this](Napi::Env env, Napi::Function) { finish(env); });
    channel_.Release();
  }

  // Runs on the JavaScript thread, after all reports of the work.
  void finish(Napi::Env env) {
    const std::unique_ptr<Running> self = Jobs::here(env).remove(this);
    thread_.join();
    if (!thrown_.IsEmpty()) return deferred_.Reject(thrown_.Value());
    if (failure_) return deferred_.Reject(make_error(env, describe_exception(failure_)));
    try {
      deferred_.Resolve(result_(env));
    } catch (const Napi::Error& error) {
      deferred_.Reject(error.Value());
    } catch (...) {
      deferred_.Reject(make_error(env, describe_exception(std::current_exception())));
    }
  }

  Work work_;
  Result result_;
  Napi::Promise::Deferred deferred_;
  Napi::FunctionReference progress_;
  Napi::Error thrown_;
  Napi::ThreadSafeFunction channel_;
  std::thread thread_;
  std::exception_ptr failure_;
};

Jobs::~Jobs() = default;

Running& Jobs::add(std::unique_ptr<Running> job) { return **jobs_.insert(std::move(job)).first; }

std::unique_ptr<Running> Jobs::remove(Running* job) {
  for (auto it = jobs_.begin(); it != jobs_.end(); ++it) {
    if (it->get() == job) return std::move(jobs_.extract(it).value());
  }
  return nullptr;
}

}  // namespace

Napi::Value TokenizerJob::start(Napi::Env env, Work work, Result result, const Napi::Value& progress) {
  Jobs& jobs = Jobs::here(env);
  Running& job = jobs.add(std::make_unique<Running>(env, std::move(work), std::move(result), progress));
  try {
    const Napi::Value handle = job.handle(env);
    job.start();
    return handle;
  } catch (...) {
    jobs.remove(&job);
    throw;
  }
}

}  // namespace heddle
