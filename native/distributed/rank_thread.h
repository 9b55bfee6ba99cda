// The only thread of the process that makes MPI calls. It runs jobs in order. Between jobs it polls PeerWatch, which
// detects lost ranks.
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
  // A job gets the group. If the group has failed, it gets null and the error. It must not throw.
  using Job = std::function<void(RankGroup*, std::exception_ptr)>;

  // Called on the thread with the reason when a rank is lost. Some seconds later all ranks end. Must not throw.
  using Lost = std::function<void(const std::string& why)>;

  // `connected` is the first job. It runs as soon as all ranks have connected.
  RankThread(std::vector<std::string> libraries, double silence_seconds, Job connected, Lost lost);
  // Leaves the group, with a time limit (see end). The thread may still run afterwards.
  ~RankThread();

  void post(Job job);
  // Leaves the group after the jobs posted so far. Does not wait for the other ranks.
  void leave();
  // Leaves the group in order with code 0, or ends all ranks with another code. Waits for at most `seconds`; after
  // that, or if another rank is lost, all ranks end. Called once before the process exits; later calls do nothing.
  void end(int code, double seconds);

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace heddle
