#include "distributed/rank_thread_sums.h"

#include <chrono>
#include <cstring>

#include "core/error.h"

namespace heddle {
namespace {

// Large enough that the latency of a sum does not matter.
constexpr size_t batch_bytes = size_t{4} << 20;
// Number of batches that may wait, which limits the memory. A single value may be larger than a batch.
constexpr size_t most_posted = 2;

}  // namespace

struct RankThreadSums::Batch {
  // Where the sums of this rank's range of a value go.
  struct Target {
    const unsigned char* sums;
    float* own;
    size_t count;
    bool add;
  };
  std::vector<std::vector<unsigned char>> values;  // copies, in which the ranges of this rank receive their sums
  SpansByRank spans;
  std::vector<Target> targets;
  size_t bytes = 0;

  std::mutex mutex;
  std::condition_variable wake;
  bool done = false;
  std::exception_ptr failed;

  void end(std::exception_ptr why) {
    {
      std::lock_guard<std::mutex> lock(mutex);
      done = true, failed = std::move(why);
    }
    wake.notify_one();
  }
  bool wait_for(std::chrono::milliseconds time) {
    std::unique_lock<std::mutex> lock(mutex);
    return wake.wait_for(lock, time, [&] { return done; });
  }
  void store() const {
    if (failed) std::rethrow_exception(failed);
    for (const Target& t : targets) {
      if (!t.add) {
        std::memcpy(t.own, t.sums, t.count * sizeof(float));
        continue;
      }
      const float* sums = reinterpret_cast<const float*>(t.sums);
      for (size_t i = 0; i < t.count; ++i) t.own[i] += sums[i];
    }
  }
};

void RankThreadSums::start(const float* value, const RankRanges& ranges, float* own, bool add) {
  if (!filling_) {
    filling_ = std::make_shared<Batch>();
    filling_->spans.resize(static_cast<size_t>(size_));
  }
  Batch& batch = *filling_;
  const size_t bytes = static_cast<size_t>(ranges.ends.back()) * sizeof(float);
  const unsigned char* const from = reinterpret_cast<const unsigned char*>(value);
  unsigned char* const copy = batch.values.emplace_back(from, from + bytes).data();
  for (int r = ranges.first; r < ranges.first + static_cast<int>(ranges.ends.size()); ++r) {
    const RankRanges::Range range = ranges.of(r);
    if (range.begin == range.end) continue;
    const size_t count = static_cast<size_t>(range.end - range.begin);
    unsigned char* const begin = copy + static_cast<size_t>(range.begin) * sizeof(float);
    batch.spans[static_cast<size_t>(r)].push_back({begin, count * sizeof(float)});
    if (r == rank_) batch.targets.push_back({begin, own, count, add});
  }
  batch.bytes += bytes;
  if (batch.bytes >= batch_bytes) post();
  store_complete(most_posted);
}

void RankThreadSums::post() {
  const std::shared_ptr<RankThread> thread = thread_.lock();
  if (!thread) throw Error("DISPOSED", "world: expected an open one, got a closed one");
  posted_.push_back(filling_);
  thread->post([batch = std::move(filling_)](RankGroup* group, std::exception_ptr why) {
    try {
      if (!group) std::rethrow_exception(why);
      group->reduce_scatter(batch->spans, Summed::f32);
      batch->end(nullptr);
    } catch (...) {
      batch->end(std::current_exception());
    }
  });
  filling_ = nullptr;
}

void RankThreadSums::store_complete(size_t most) {
  while (!posted_.empty()) {
    if (!posted_.front()->wait_for(std::chrono::milliseconds(posted_.size() > most ? 50 : 0))) {
      if (posted_.size() <= most) return;
      if (stopping_.load(std::memory_order_relaxed)) throw Error("ABORTED", "run: aborted by its signal");
      continue;
    }
    posted_.front()->store();
    posted_.pop_front();
  }
}

void RankThreadSums::finish() {
  if (filling_) post();
  store_complete(0);
}

void RankThreadSums::abandon() { filling_ = nullptr, posted_.clear(); }

}  // namespace heddle
