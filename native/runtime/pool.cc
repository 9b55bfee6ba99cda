// A job's tasks are split into one contiguous share per thread, so that loops over the same rows find their data in the
// core's caches. A thread that has finished its share steals from the ends of other shares. Moving a cache line between
// cores is slow, so the word of each share has a separate cache line.
// Threads claim work by compare-and-swap on a share's word (generation, begin and end of the remaining chunks). A
// worker that wakes late therefore cannot take a task of a newer job than the one that it has read. The caller can
// finish a job alone, so a forked child, which has no workers, does not hang.
#include "runtime/pool.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "core/cancellation.h"
#include "core/cpus.h"
#include "core/error.h"
#include "core/platform/threads.h"
#include "core/round.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace heddle {
namespace {

inline void pause_cpu() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

constexpr int64_t spin_ns = 50'000;         // longer than the gap between two kernels of a program
constexpr int64_t ahead_bytes = 384 << 10;  // bytes that an idle thread prefetches; part of its L2

constexpr int64_t slice = int64_t{1} << 30;  // maximum number of tasks of one job

// A word encodes a job, or the rest of a share. Its upper 42 bits are the generation, followed by two chunk indices.
// Generations do not wrap around in practice: 2^42 loops of 10 µs take more than a year.
constexpr int index_bits = 11;
constexpr int64_t max_chunks = (1 << index_bits) - 1;
inline uint64_t word_of(uint64_t generation, int64_t begin, int64_t end) {
  return generation << 2 * index_bits | static_cast<uint64_t>(begin) << index_bits | static_cast<uint64_t>(end);
}
inline uint64_t generation_of(uint64_t word) { return word >> 2 * index_bits; }
inline int64_t begin_of(uint64_t word) { return static_cast<int64_t>(word >> index_bits) & max_chunks; }
inline int64_t end_of(uint64_t word) { return static_cast<int64_t>(word) & max_chunks; }

// Returns the first task of `thread`. Rounds up, so that thread 0 gets one more task if the division has a remainder.
// Thread 0 is the caller, which is awake.
inline int64_t share_begin(int64_t tasks, int thread, int threads) { return ceil_div(tasks * thread, threads); }

}  // namespace

struct Pool::Impl {
  int threads;
  long owner = process_id();
  std::vector<int> cpus;  // cpus[i] for thread i; empty: not pinned
  // Whether waiting threads spin. False if there are more threads than CPUs, or than the CPU quota allows, because a
  // spinning thread would then block a worker's core.
  bool spin;

  // The current job: its generation and chunks [0, end). While a thread holds a chunk, the job does not end and its
  // fields do not change.
  std::atomic<uint64_t> job{0};
  std::atomic<Task> fn{nullptr};
  std::atomic<void*> context{nullptr};
  std::atomic<int64_t> tasks{0}, base{0}, chunk{1};
  std::atomic<bool> failed{false};
  alignas(128) std::atomic<int64_t> done{0};  // on a separate cache line, because threads read the other fields often

  // The remaining chunks of a thread's share, [begin, end). A word of an earlier generation means that nothing of the
  // share has been claimed yet. The first claim writes the word. A late thread never mistakes a finished share for an
  // unclaimed one: at the end of a job, every nonempty share has the job's generation and no chunks.
  struct alignas(128) Share {
    std::atomic<uint64_t> left{0};
  };
  alignas(128) std::unique_ptr<Share[]> shares;

  // The cancellation of the current Watch. Threads read it only while they hold tasks of a job. Its flags are valid
  // during that time.
  Cancellation cancellation;
  std::atomic<bool> watched{false};
  bool aborted() const { return watched.load(std::memory_order_relaxed) && cancellation.requested(); }
  void fail(std::exception_ptr why) {
    std::lock_guard<std::mutex> lock(mutex);
    if (!error) error = why;
    failed.store(true, std::memory_order_relaxed);
  }

  // The next stream (announce_stream). The id changes last. A mixture of two announcements therefore lasts for one step
  // of fetch_ahead, and costs at most a useless prefetch.
  std::atomic<const char*> stream{nullptr};
  std::atomic<int64_t> stream_task{0};   // bytes of a task
  std::atomic<int64_t> stream_tasks{0};  // number of tasks
  std::atomic<uint32_t> stream_id{0};

  std::mutex mutex;
  std::condition_variable work, finished;
  std::atomic<int> parked{0};
  std::atomic<bool> caller_parked{false};
  std::atomic<bool> stop{false};
  std::exception_ptr error;
  std::vector<std::thread> workers;

  struct Ahead {
    uint32_t id = 0;
    int64_t at = 0;
  } callers_ahead;
  // Prefetches half a kilobyte of the next stream. Returns false if nothing is left.
  bool fetch_ahead(Ahead& ahead, int thread) {
    const uint32_t id = stream_id.load(std::memory_order_acquire);
    if (id != ahead.id) ahead = {id, 0};
    const int64_t task = stream_task.load(std::memory_order_relaxed), end = task < ahead_bytes ? task : ahead_bytes;
    if (ahead.at >= end) return false;
    const int64_t first = share_begin(stream_tasks.load(std::memory_order_relaxed), thread, threads);
    const char* from = stream.load(std::memory_order_relaxed) + first * task + ahead.at;
    for (int line = 0; line < 8; ++line) __builtin_prefetch(from + 64 * line, 0, 2);
    ahead.at += 512;
    return true;
  }

  // Claims a chunk of `owner`'s share of the job `of`: the first chunk if `first` is set, otherwise the last one. The
  // owner sets `first`, and thieves do not. Returns -1 if no chunk is left.
  int64_t claim(uint64_t of, int owner, bool first) {
    std::atomic<uint64_t>& left = shares[static_cast<size_t>(owner)].left;
    uint64_t word = left.load(std::memory_order_acquire);
    while (true) {
      if (generation_of(word) > generation_of(of)) return -1;  // the job is over
      const bool whole = generation_of(word) < generation_of(of);
      int64_t begin = whole ? share_begin(end_of(of), owner, threads) : begin_of(word);
      int64_t end = whole ? share_begin(end_of(of), owner + 1, threads) : end_of(word);
      if (begin >= end) return -1;
      const int64_t taken = first ? begin++ : --end;
      if (left.compare_exchange_weak(
              word, word_of(generation_of(of), begin, end), std::memory_order_acq_rel, std::memory_order_acquire))
        return taken;
    }
  }

  // Runs chunks of the job until all are claimed: those of the thread's share, then stolen ones.
  void take(uint64_t of, int thread) {
    int64_t ran = 0, total = 0;
    for (int away = 0; away < threads; ++away) {
      for (int64_t c; (c = claim(of, (thread + away) % threads, away == 0)) >= 0;) {
        Task f = fn.load(std::memory_order_relaxed);
        void* with = context.load(std::memory_order_relaxed);
        const int64_t step = chunk.load(std::memory_order_relaxed), first = base.load(std::memory_order_relaxed);
        total = tasks.load(std::memory_order_relaxed);
        const int64_t from = c * step, to = total - from < step ? total : from + step;
        if (aborted()) fail(std::make_exception_ptr(cancellation.error()));
        for (int64_t k = from; k < to; ++k) {
          if (failed.load(std::memory_order_relaxed)) break;
          try {
            f(with, first + k, thread);
          } catch (...) {
            fail(std::current_exception());
          }
        }
        ran += to - from;
      }
    }
    if (ran && done.fetch_add(ran, std::memory_order_seq_cst) + ran == total &&
        caller_parked.load(std::memory_order_seq_cst)) {
      std::lock_guard<std::mutex> lock(mutex);
      finished.notify_one();
    }
  }

  void worker(int thread) {
    mark_compute_thread();
    if (!cpus.empty()) pin_thread({cpus[static_cast<size_t>(thread)]});
    else if (!allowed_cpus().empty())
      pin_thread(allowed_cpus());  // undoes the pinning that this thread has inherited from the thread that started it
    uint64_t seen = 0;
    Ahead ahead;
    while (true) {
      uint64_t of = job.load(std::memory_order_acquire);
      int64_t until = spin ? now_ns() + spin_ns : 0;
      while (of == seen) {
        if (stop.load(std::memory_order_relaxed)) return;
        bool out_of_time = !spin;
        for (int i = 0; spin && i < 64; ++i) {
          if (!fetch_ahead(ahead, thread)) pause_cpu();
          of = job.load(std::memory_order_acquire);
          if (of != seen) break;
        }
        if (spin) out_of_time = now_ns() > until;
        if (out_of_time && of == seen) {
          std::unique_lock<std::mutex> lock(mutex);
          parked.fetch_add(1, std::memory_order_seq_cst);
          while ((of = job.load(std::memory_order_seq_cst)) == seen && !stop.load()) work.wait(lock);
          parked.fetch_sub(1, std::memory_order_relaxed);
        } else {
          of = job.load(std::memory_order_acquire);
        }
      }
      seen = of;
      take(seen, thread);
    }
  }

  void run(int64_t first, int64_t count, Task f, void* c) {
    fn.store(f, std::memory_order_relaxed);
    context.store(c, std::memory_order_relaxed);
    tasks.store(count, std::memory_order_relaxed);
    base.store(first, std::memory_order_relaxed);
    int64_t step = count / (int64_t{threads} * 32);  // 32 chunks per thread leave enough to steal
    if (step < 1) step = 1;
    if (ceil_div(count, step) > max_chunks) step = ceil_div(count, max_chunks);
    chunk.store(step, std::memory_order_relaxed);
    done.store(0, std::memory_order_relaxed);
    failed.store(false, std::memory_order_relaxed);
    const uint64_t open = word_of(generation_of(job.load(std::memory_order_relaxed)) + 1, 0, ceil_div(count, step));
    job.store(open, std::memory_order_seq_cst);
    // A forked child has no workers to wake, and its copy of the mutex may be locked forever.
    if (parked.load(std::memory_order_seq_cst) > 0 && process_id() == owner) {
      std::lock_guard<std::mutex> lock(mutex);
      work.notify_all();
    }
    take(open, 0);
    int64_t until = 0;
    while (done.load(std::memory_order_acquire) != count) {
      for (int i = 0; spin && i < 64 && done.load(std::memory_order_acquire) != count; ++i)
        if (!fetch_ahead(callers_ahead, 0)) pause_cpu();
      if (spin && !until) until = now_ns() + spin_ns;
      if (!spin || now_ns() > until) {
        std::unique_lock<std::mutex> lock(mutex);
        caller_parked.store(true, std::memory_order_seq_cst);
        finished.wait(lock, [&] { return done.load(std::memory_order_seq_cst) == count; });
        caller_parked.store(false, std::memory_order_relaxed);
      }
    }
  }
};

Pool::Pool(int threads) : impl_(new Impl) {
  Impl& p = *impl_;
  p.threads = threads < 1 ? 1 : threads;
  p.shares = std::make_unique<Impl::Share[]>(static_cast<size_t>(p.threads));
  const std::vector<int>& cpus = allowed_cpus();
  p.spin = p.threads <= usable_cpus();
  // Pins threads only if they use more than half of the CPUs. The scheduler places fewer threads better, because it
  // knows which CPUs share a core. Threads of a container with a CPU quota are not pinned either, because neighboring
  // containers would choose the same CPUs.
  const int count = static_cast<int>(cpus.size());
  if (p.threads > 1 && p.threads <= count && p.threads * 2 > count && usable_cpus() >= count) {
    p.cpus = cpus;
    p.cpus.resize(static_cast<size_t>(p.threads));
  }
  for (int i = 1; i < p.threads; ++i) {
    try {
      p.workers.emplace_back([&p, i] { p.worker(i); });
    } catch (const std::system_error&) {
      break;  // the system cannot start more threads; fewer workers do the same work
    }
  }
}

Pool::~Pool() {
  Impl& p = *impl_;
  if (process_id() != p.owner) {  // a forked child has no workers, and joining them would wait forever
    impl_.release();
    return;
  }
  {
    std::lock_guard<std::mutex> lock(p.mutex);
    p.stop.store(true);
  }
  p.work.notify_all();
  for (std::thread& w : p.workers) w.join();
}

Pool::Watch::Watch(Pool& pool, const Cancellation& cancellation) : pool_(pool) {
  pool_.impl_->cancellation = cancellation;
}
Pool::Watch::~Watch() {
  pool_.interrupt(false);
  pool_.impl_->cancellation = {};
}
void Pool::interrupt(bool allowed) { impl_->watched.store(allowed, std::memory_order_relaxed); }

int Pool::threads() const { return impl_->threads; }

void Pool::announce_stream(const void* data, size_t bytes) {
  Impl& p = *impl_;
  if (p.workers.empty() || p.stream.load(std::memory_order_relaxed) == data) return;
  p.stream.store(static_cast<const char*>(data), std::memory_order_relaxed);
  const int64_t tasks = stream_tasks(static_cast<int64_t>(bytes), p.threads);
  p.stream_tasks.store(tasks, std::memory_order_relaxed);
  p.stream_task.store(static_cast<int64_t>(bytes) / tasks, std::memory_order_relaxed);
  p.stream_id.fetch_add(1, std::memory_order_release);
}

void Pool::run_raw(int64_t tasks, Task fn, void* context) {
  Impl& p = *impl_;
  if (tasks <= 1 || p.workers.empty()) {
    for (int64_t i = 0; i < tasks; ++i) {
      if (p.aborted()) throw p.cancellation.error();
      fn(context, i, 0);
    }
    return;
  }
  if (!p.cpus.empty()) {
    thread_local const Impl* pinned_for = nullptr;
    if (pinned_for != &p) {
      pin_thread({p.cpus[0]});
      pinned_for = &p;
    }
  }
  for (int64_t first = 0; first < tasks; first += slice) {
    p.run(first, tasks - first < slice ? tasks - first : slice, fn, context);
    if (p.error) {
      std::exception_ptr error = p.error;
      p.error = nullptr;
      std::rethrow_exception(error);
    }
  }
}

}  // namespace heddle
