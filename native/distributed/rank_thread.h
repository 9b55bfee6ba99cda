// The only thread of the process that makes MPI calls. It runs jobs in order. Between jobs it polls the RankGroup,
// which detects lost ranks.
#pragma once
#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "distributed/rank_group.h"

namespace heddle {

class RankThread {
 public:
  // Called on the thread with the group and a null pointer. If the group has failed or is closed, called with null and
  // the error. Must not throw.
  using Job = std::function<void(RankGroup*, std::exception_ptr)>;

  // Called on the thread with the reason when a rank is lost. All ranks end some seconds later. Must not throw.
  using Lost = std::function<void(const std::string& why)>;

  // Starts the thread, which opens the first usable MPI library and connects the ranks. `connected` is the first job.
  // It runs when all ranks have connected, or when that has failed.
  RankThread(std::vector<std::string> libraries, double silence_seconds, Job connected, Lost lost);
  // Calls end(0, 20). The thread may still run afterwards.
  ~RankThread();

  // Adds a job. If the group is closed, calls it on the caller's thread instead, with a DISPOSED error.
  void post(Job job);
  // Makes the thread leave the group after the jobs posted so far. Returns at once.
  void leave();
  // With code 0, leaves the group after the posted jobs, as leave() does. With another code, ends all ranks. Waits for
  // at most `seconds` until the thread has ended. After that time, ends all ranks, and waits for another 5 seconds.
  // Call this before the process exits. Does nothing if the thread has ended.
  void end(int code, double seconds);

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace heddle
