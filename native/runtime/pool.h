// A persistent pool of worker threads that runs one parallel loop at a time for its lane.
#pragma once
#include <cstdint>
#include <memory>
#include <type_traits>

namespace heddle {

class Cancellation;

class Pool {
 public:
  explicit Pool(int threads);  // `threads` includes the calling (lane) thread, so Pool(1) starts no threads
  ~Pool();                     // joins the workers
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  int threads() const;

  // Runs fn(task, thread) for all tasks in [0, tasks), with thread in [0, threads()). Returns when all are done. Each
  // thread processes a contiguous range, then steals from the ends of the others. Results must not depend on which
  // thread runs a task: partition by `tasks`, never by thread. Rethrows the first exception of a task. Not reentrant.
  template <class F> void run(int64_t tasks, F&& fn) {
    using Fn = std::remove_reference_t<F>;
    run_raw(tasks, [](void* f, int64_t task, int thread) { (*static_cast<Fn*>(f))(task, thread); },
        const_cast<void*>(static_cast<const void*>(&fn)));
  }

  // Splits [0, n) into contiguous pieces of at least `grain`, at most four per thread. Runs fn(begin, end, thread) for
  // each.
  template <class F> void range(int64_t n, int64_t grain, F&& fn) {
    if (n <= 0) return;
    int64_t pieces = n / (grain > 0 ? grain : 1);
    int64_t most = threads() == 1 ? 1 : static_cast<int64_t>(threads()) * 4;
    if (pieces > most) pieces = most;
    if (pieces <= 1) return fn(int64_t{0}, n, 0);
    run(pieces, [&](int64_t p, int thread) { fn(n * p / pieces, n * (p + 1) / pieces, thread); });
  }

  // Returns the number of tasks for a loop that streams `bytes` once: 1, or 1 to 4 per thread. A thread gets several
  // tasks only if each has about 256 KiB or more, because a stream needs time to reach full bandwidth.
  static int64_t stream_tasks(int64_t bytes, int threads) {
    if (threads == 1 || bytes < 32768) return 1;
    const int64_t each = (bytes / 262144 + threads / 2) / threads;
    return threads * (each < 1 ? 1 : each < 4 ? each : 4);
  }

  // While a Watch exists, loops that interrupt() allows end early with the error ABORTED once cancellation is
  // requested. They check this at every chunk of tasks. Only the lane's thread may create a Watch.
  class Watch {
   public:
    Watch(Pool& pool, const Cancellation& cancellation);
    ~Watch();
    Watch(const Watch&) = delete;
    Watch& operator=(const Watch&) = delete;

   private:
    Pool& pool_;
  };
  // Sets whether later loops obey the Watch. At first they do not. Loops whose partial result would
  // corrupt data must run to their end.
  void interrupt(bool allowed);

  // Announces the data that a later loop will stream, in stream_tasks(bytes, threads()) tasks. Waiting threads prefetch
  // the beginnings of these tasks. The memory is only prefetched, so it may already be freed.
  void announce_stream(const void* data, size_t bytes);

 private:
  using Task = void (*)(void*, int64_t, int);
  void run_raw(int64_t tasks, Task fn, void* context);
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace heddle
