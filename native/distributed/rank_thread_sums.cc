#include "distributed/rank_thread_sums.h"

#include <chrono>
#include <cstring>
#include <limits>
#include <utility>

#include "core/error.h"

namespace heddle {
namespace {

// Number of batches that may wait for their sums while another is filled. It limits the memory.
constexpr size_t most_posted = 1;

}  // namespace

class RankThreadSums::Exchange {
 public:
  void end(std::exception_ptr why) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      done_ = true, failed_ = std::move(why);
    }
    wake_.notify_one();
  }
  bool wait_for(std::chrono::milliseconds time) {
    std::unique_lock<std::mutex> lock(mutex_);
    return wake_.wait_for(lock, time, [&] { return done_; });
  }
  // Throws the error of the MPI thread's call, if it ended with one.
  void check() const {
    if (failed_) std::rethrow_exception(failed_);
  }

 private:
  std::mutex mutex_;
  std::condition_variable wake_;
  bool done_ = false;
  std::exception_ptr failed_;
};

struct RankThreadSums::Batch : Exchange {
  // The destination of the sums of this rank's range of a value.
  struct Target {
    const unsigned char* sums;
    float* own;
    size_t count;
    bool add;
  };
  bool everywhere = false;  // every rank receives all sums, and spans[0] has all values
  Summed type = Summed::f32;
  std::vector<std::vector<unsigned char>> values;  // copies, in which the ranges of this rank receive their sums
  std::shared_ptr<const void> held;                // the memory of values that are summed in place
  SpansByRank spans;
  std::vector<Target> targets;
  size_t bytes = 0;

  void sum(RankGroup& group) const {
    if (everywhere) group.all_reduce(spans[0], type);
    else group.reduce_scatter(spans, type);
  }
  void store() const {
    check();
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

struct RankThreadSums::Gathered : Exchange {
  std::unique_ptr<unsigned char[]> whole;
  size_t bytes = 0;
  SpansByRank spans;
};

RankThreadSums::RankThreadSums(std::weak_ptr<RankThread> thread, int rank, int size, const Cancellation& cancellation)
    : thread_(std::move(thread)), rank_(rank), size_(size), cancellation_(cancellation),
      batch_bytes_(least_batch_bytes(size)) {}

void RankThreadSums::start(const float* value, const RankRanges& ranges, float* own, bool add) {
  store_complete(most_posted);
  Batch& batch = filling(false, Summed::f32);
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
  filled(bytes);
}

void RankThreadSums::start_in_place(void* value, DType type, size_t count, const RankRanges* ranges) {
  store_complete(std::numeric_limits<size_t>::max());  // throws if an earlier sum has failed
  Batch& batch = filling(!ranges, type == DType::bf16 ? Summed::bf16 : Summed::f32);
  batch.held = held_;
  unsigned char* const data = static_cast<unsigned char*>(value);
  const size_t element = type == DType::bf16 ? 2 : 4;
  if (!ranges) batch.spans[0].push_back({data, count * element});
  for (int r = 0; ranges && r < size_; ++r) {
    const RankRanges::Range range = ranges->of(r);
    if (range.begin == range.end) continue;
    batch.spans[static_cast<size_t>(r)].push_back(
        {data + static_cast<size_t>(range.begin) * element, static_cast<size_t>(range.end - range.begin) * element});
  }
  filled(count * element);
}

RankThreadSums::Batch& RankThreadSums::filling(bool everywhere, Summed type) {
  if (filling_ && (filling_->everywhere != everywhere || filling_->type != type)) post();
  if (!filling_) {
    filling_ = std::make_shared<Batch>();
    filling_->everywhere = everywhere, filling_->type = type;
    filling_->spans.resize(static_cast<size_t>(size_));
  }
  return *filling_;
}

void RankThreadSums::filled(size_t bytes) {
  filling_->bytes += bytes;
  if (filling_->bytes >= batch_bytes_) post();
}

void RankThreadSums::post(std::shared_ptr<Exchange> exchange, std::function<void(RankGroup&)> work) {
  const std::shared_ptr<RankThread> thread = thread_.lock();
  if (!thread) throw Error("DISPOSED", "world: used after close()");
  thread->post([exchange = std::move(exchange), work = std::move(work)](RankGroup* group, std::exception_ptr why) {
    try {
      if (!group) std::rethrow_exception(why);
      work(*group);
      exchange->end(nullptr);
    } catch (...) {
      exchange->end(std::current_exception());
    }
  });
}

void RankThreadSums::post() {
  const std::shared_ptr<Batch> batch = std::move(filling_);
  filling_ = nullptr;
  post(batch, [&batch = *batch](RankGroup& group) { batch.sum(group); });
  posted_.push_back(batch);
}

void RankThreadSums::wait(Exchange& exchange) {
  const auto began = std::chrono::steady_clock::now();
  while (!exchange.wait_for(std::chrono::milliseconds(50))) cancellation_.check();
  waited_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
}

void RankThreadSums::prefetch(const Fill& fill, const RankRanges& ranges, size_t element) {
  const auto gathered = std::make_shared<Gathered>();
  gathered->bytes = static_cast<size_t>(ranges.ends.back()) * element;
  gathered->whole.reset(new unsigned char[gathered->bytes]);
  gathered->spans.resize(static_cast<size_t>(size_));
  for (int r = 0; r < size_; ++r) {
    const RankRanges::Range range = ranges.of(r);
    if (range.begin == range.end) continue;
    unsigned char* const begin = gathered->whole.get() + static_cast<size_t>(range.begin) * element;
    gathered->spans[static_cast<size_t>(r)].push_back({begin, static_cast<size_t>(range.end - range.begin) * element});
    if (r == rank_) fill(begin);
  }
  post(gathered, [&spans = gathered->spans](RankGroup& group) { group.all_gather(spans); });
  prefetched_ = gathered;
}

void RankThreadSums::gather(const Fill& fill, const RankRanges& ranges, size_t element, void* whole) {
  if (!prefetched_) prefetch(fill, ranges, element);
  wait(*prefetched_);
  prefetched_->check();
  std::memcpy(whole, prefetched_->whole.get(), prefetched_->bytes);
  prefetched_ = nullptr;
}

void RankThreadSums::store_complete(size_t most) {
  for (; !posted_.empty(); posted_.pop_front()) {
    Batch& batch = *posted_.front();
    if (!batch.wait_for(std::chrono::milliseconds(0))) {
      if (posted_.size() <= most) return;
      wait(batch);
    }
    batch.store();
  }
}

void RankThreadSums::finish() {
  if (filling_) post();
  store_complete(0);
  held_ = nullptr;
}

void RankThreadSums::abandon() { filling_ = nullptr, held_ = nullptr, prefetched_ = nullptr, posted_.clear(); }

double RankThreadSums::take_waited_seconds() { return std::exchange(waited_, 0.0); }

}  // namespace heddle
