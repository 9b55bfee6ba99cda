// One lane per device and JavaScript environment: a thread that runs jobs in order, and its worker pool.
#pragma once
#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#include "core/cancellation.h"
#include "runtime/collective.h"
#include "core/memory.h"
#include "runtime/pool.h"
#include "runtime/run/packing_budget.h"

namespace heddle {

using AbortFlag = std::shared_ptr<std::atomic<bool>>;

class Lane {
 public:
  explicit Lane(int threads, std::shared_ptr<Accelerator> accelerator = nullptr);
  ~Lane();  // calls stop()

  // Queues a job for the lane's thread. A job must not throw.
  void post(std::function<void()> job);
  // Stops the running job at its next node or chunk of tasks, discards queued jobs and joins the thread. The binding
  // calls it when the JavaScript environment exits. A second call has no effect.
  void stop();
  // Returns a cancellation that is requested when the lane stops, or when `abort` is set. `abort` may be null.
  Cancellation cancellation(const std::atomic<bool>* abort = nullptr) const {
    return Cancellation("run: aborted by its signal", &stopping_, abort);
  }

  int threads() const { return threads_; }
  // Null: this lane computes on the CPU.
  const std::shared_ptr<Accelerator>& accelerator() const { return accelerator_; }
  Pool& pool();                        // lane thread only
  unsigned char* arena(size_t bytes);  // lane thread only; contents do not survive between jobs
  // Current size of the arena, which the lane keeps between jobs.
  size_t arena_bytes() const { return arena_bytes_.load(std::memory_order_relaxed); }
  unsigned char* scratch(size_t bytes);                  // like arena()
  void join(const std::string& id, int rank, int size);  // lane thread only; waits for all ranks
  Collective& collective();                              // lane thread only; throws if the lane has not joined a world
  // Joins a world of CPU ranks. Lane thread only.
  void join(std::shared_ptr<RankSums> sums) { sums_ = std::move(sums); }
  RankSums* sums() const { return sums_.get(); }  // lane thread only; null if the lane has not joined a world
  // Limits the time that runs spend on packing weights. All executables share it, because each call of a model may
  // create new executables.
  PackingBudget& packing_budget() { return packing_budget_; }  // lane thread only

 private:
  void loop();
  unsigned char* grow(std::shared_ptr<Storage>& storage, size_t bytes);

  const int threads_;
  const std::shared_ptr<Accelerator> accelerator_;
  std::unique_ptr<Pool> pool_;
  std::shared_ptr<Storage> arena_, scratch_;
  std::atomic<size_t> arena_bytes_{0};  // size of arena_, for other threads
  std::shared_ptr<Collective> collective_;
  std::shared_ptr<RankSums> sums_;
  PackingBudget packing_budget_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> jobs_;
  bool released_ = false;  // memory of the accelerator waits to be freed by the thread
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

}  // namespace heddle
