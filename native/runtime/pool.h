// A persistent pool of pinned worker threads that runs one parallel loop at a time for its lane.
#pragma once
#include <cstdint>
#include <memory>
#include <type_traits>

namespace heddle {

class Pool {
 public:
  explicit Pool(int threads);  // counts the calling (lane) thread, so Pool(1) starts none
  ~Pool();                     // joins
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  int threads() const;

  // Runs fn(task, thread) for task in [0, tasks), thread in [0, threads()). Returns when all are done.
  // Tasks are handed out dynamically; a kernel whose result depends on the partition must fix it by `tasks`,
  // never by thread. The first exception thrown by a task is rethrown here. Not reentrant.
  template <class F> void run(int64_t tasks, F&& fn) {
    using Fn = std::remove_reference_t<F>;
    run_raw(tasks, [](void* f, int64_t task, int thread) { (*static_cast<Fn*>(f))(task, thread); },
            const_cast<void*>(static_cast<const void*>(&fn)));
  }

  // Splits [0, n) into contiguous pieces of at least `grain` and runs fn(begin, end, thread).
  template <class F> void range(int64_t n, int64_t grain, F&& fn) {
    if (n <= 0) return;
    int64_t pieces = n / (grain > 0 ? grain : 1);
    int64_t most = threads() == 1 ? 1 : static_cast<int64_t>(threads()) * 4;
    if (pieces > most) pieces = most;
    if (pieces <= 1) return fn(int64_t{0}, n, 0);
    run(pieces, [&](int64_t p, int thread) { fn(n * p / pieces, n * (p + 1) / pieces, thread); });
  }

 private:
  using Task = void (*)(void*, int64_t, int);
  void run_raw(int64_t tasks, Task fn, void* context);
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace heddle
