#include "distributed/rank_thread.h"

#include <chrono>

#include "core/error.h"

namespace heddle {

namespace {
// Maximum wait for a job between two polls of the group.
constexpr std::chrono::milliseconds idle{100};
// Maximum time between the loss of a rank and the end of all ranks. In this time JavaScript reports the loss and saves
// its work.
constexpr std::chrono::seconds grace{10};
// Minimum time between the loss of a rank and the end of all ranks. In this time a rank that has failed can report its
// own error, before this rank ends it.
constexpr std::chrono::seconds courtesy{2};
}  // namespace

// The state that RankThread and its thread share. The thread may outlive the RankThread, if a library call never
// returns.
struct RankThread::State {
  std::mutex mutex;
  std::condition_variable wake, done;
  std::deque<Job> jobs;
  bool closing = false, ended = false;  // `mutex` guards these and `jobs`
  std::atomic<int> abort_code{-1};      // not negative: all ranks are to end with this code

  // Returns the next job, or null if none arrives within `idle`. Does not wait if the group is closing or aborting.
  Job next() {
    std::unique_lock<std::mutex> lock(mutex);
    wake.wait_for(lock, idle, [&] { return !jobs.empty() || closing || abort_code >= 0; });
    if (jobs.empty()) return nullptr;
    Job job = std::move(jobs.front());
    jobs.pop_front();
    return job;
  }
  bool should_close() {
    std::lock_guard<std::mutex> lock(mutex);
    return closing && jobs.empty();
  }
  void finish() {
    {
      std::lock_guard<std::mutex> lock(mutex);
      ended = true;
    }
    done.notify_all();
  }

  void run(const std::vector<std::string>& libraries, double silence_seconds, const Job& connected, const Lost& lost);
  void serve(RankGroup& group);
  void fail_all(std::exception_ptr why);  // removes all jobs, and calls each with the error
};

void RankThread::State::run(
    const std::vector<std::string>& libraries, double silence_seconds, const Job& connected, const Lost& lost) {
  std::unique_ptr<RankGroup> group;
  try {
    group = std::make_unique<RankGroup>(libraries, silence_seconds, abort_code);
  } catch (...) {
    {
      std::lock_guard<std::mutex> lock(mutex);
      closing = true;  // from here on, post() rejects jobs that nothing would run
    }
    connected(nullptr, std::current_exception());
    fail_all(std::current_exception());
    return finish();
  }
  connected(group.get(), nullptr);
  try {
    serve(*group);
  } catch (...) {
    // A rank is lost, so operations can no longer complete. The pending jobs fail. Jobs that are posted later fail too,
    // until all ranks end.
    fail_all(std::current_exception());
    try {
      throw;
    } catch (const Error& e) {
      if (abort_code < 0) lost(e.what());
    } catch (...) {
      lost("world: unknown failure");
    }
    const auto lost_at = std::chrono::steady_clock::now();
    while (std::chrono::steady_clock::now() < lost_at + grace && abort_code < 0) {
      if (const Job job = next()) job(nullptr, std::current_exception());
      if (should_close()) break;
    }
    std::this_thread::sleep_until(lost_at + courtesy);
    group->abort(abort_code < 0 ? 1 : abort_code.load());
  }
  finish();
}

// Runs jobs until the group is closed. Throws if a rank is lost.
void RankThread::State::serve(RankGroup& group) {
  for (;;) {
    if (const Job job = next()) job(&group, nullptr);
    group.poll();
    if (should_close()) return group.close();
  }
}

void RankThread::State::fail_all(std::exception_ptr why) {
  std::deque<Job> dropped;
  {
    std::lock_guard<std::mutex> lock(mutex);
    dropped.swap(jobs);
  }
  for (const Job& job : dropped) job(nullptr, why);
}

RankThread::RankThread(std::vector<std::string> libraries, double silence_seconds, Job connected, Lost lost)
    : state_(std::make_shared<State>()) {
  std::thread([state = state_, libraries = std::move(libraries), silence_seconds, connected = std::move(connected),
                  lost = std::move(lost)] {
    state->run(libraries, silence_seconds, connected, lost);
  }).detach();
}

RankThread::~RankThread() { end(0, 20); }

void RankThread::post(Job job) {
  bool ended;
  {
    std::lock_guard<std::mutex> lock(state_->mutex);
    ended = state_->ended || state_->closing;
    if (!ended) state_->jobs.push_back(std::move(job));
  }
  if (ended) job(nullptr, std::make_exception_ptr(Error("DISPOSED", "world: used after close()")));
  else state_->wake.notify_one();
}

void RankThread::leave() {
  {
    std::lock_guard<std::mutex> lock(state_->mutex);
    state_->closing = true;
  }
  state_->wake.notify_one();
}

void RankThread::end(int code, double seconds) {
  std::unique_lock<std::mutex> lock(state_->mutex);
  if (state_->ended) return;
  if (code == 0) state_->closing = true;
  else state_->abort_code = code;
  state_->wake.notify_one();
  const auto limit = std::chrono::duration<double>(seconds);
  if (state_->done.wait_for(lock, limit, [&] { return state_->ended; })) return;
  // The thread did not end in time, so it must end all ranks.
  state_->abort_code = code == 0 ? 1 : code;
  state_->wake.notify_one();
  state_->done.wait_for(lock, std::chrono::seconds(5), [&] { return state_->ended; });
}

}  // namespace heddle
