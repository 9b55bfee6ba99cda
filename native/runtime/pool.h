// A persistent pool of pinned worker threads that runs one parallel loop at a time for its lane.
#pragma once
#include <atomic>
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
  // A thread takes one stretch of them from its start, then from the ends of the others'; a kernel whose result depends on the
  // partition must fix it by `tasks`, never by thread. The first exception thrown by a task is rethrown here. Not reentrant.
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

  // Tasks of a loop that streams `bytes` once, in order: long ones, since a stream takes its time to start, as many for
  // every thread, and several only where they are long all the same.
  static int64_t stream_tasks(int64_t bytes, int threads) {
    if (threads == 1 || bytes < 32768) return 1;
    const int64_t each = (bytes / 262144 + threads / 2) / threads;
    return threads * (each < 1 ? 1 : each < 4 ? each : 4);
  }

  // While it lives, loops end early with the error ABORTED once one of two flags is set (either may be null): they are read at every
  // chunk of tasks, so that a wait for a large loop is one for a task. The lane's thread makes it.
  class Watch {
   public:
    struct Flags {
      const std::atomic<bool>*first, *second;
    };
    Watch(Pool& pool, Flags flags);
    ~Watch();
    Watch(const Watch&) = delete;
    Watch& operator=(const Watch&) = delete;

   private:
    Pool& pool_;
  };
  // Whether the flags of a Watch count for the loops that follow: not where half of a result is worse than none.
  void interrupt(bool allowed);

  // What a later loop will stream, in stream_tasks: threads that wait, for work or for each other, fetch the beginnings
  // of these tasks into their near caches meanwhile. The memory is never read: it may even be gone.
  void announce_stream(const void* data, size_t bytes);

 private:
  using Task = void (*)(void*, int64_t, int);
  void run_raw(int64_t tasks, Task fn, void* context);
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace heddle
