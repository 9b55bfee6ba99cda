// Sums and values of CPU ranks, which the thread of MPI calls exchanges while the program goes on.
#pragma once
#include <condition_variable>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <vector>

#include "distributed/rank_thread.h"
#include "core/cancellation.h"
#include "core/rank_sums.h"

namespace heddle {

// Values to sum are put into batches, and a batch is summed when it is large enough. Values of start() are copied, and
// the lane's thread stores a batch's sums when a later call finds that it is complete. The thread of MPI calls reads
// and writes values of start_in_place() itself. gather() collects values in separate memory, because that thread may
// still write them after a run has failed.
class RankThreadSums final : public RankSums {
 public:
  // Once `cancellation` is requested, waiting ends with the error ABORTED.
  RankThreadSums(std::weak_ptr<RankThread> thread, int rank, int size, const Cancellation& cancellation);
  int rank() const override { return rank_; }
  int size() const override { return size_; }
  void start(const float* value, const RankRanges& ranges, float* own, bool add) override;
  void gather(const Fill& fill, const RankRanges& ranges, size_t element, void* whole) override;
  void prefetch(const Fill& fill, const RankRanges& ranges, size_t element) override;
  void hold(std::shared_ptr<const void> memory) override { held_ = std::move(memory); }
  void start_in_place(void* value, DType type, size_t count, const RankRanges* ranges) override;
  void finish() override;
  void abandon() override;
  double take_waited_seconds() override;

 private:
  struct Batch;
  // A call of the MPI thread that the lane's thread waits for.
  class Exchange;
  struct Gathered;
  // Returns the batch to fill. If the current batch holds sums of another kind, posts it first.
  Batch& filling(bool everywhere, Summed type);
  void filled(size_t bytes);  // posts the batch if it is large enough
  void post();
  // Makes the MPI thread run `work` and then end `exchange` with the outcome.
  void post(std::shared_ptr<Exchange> exchange, std::function<void(RankGroup&)> work);
  // Waits for a call. Throws ABORTED if the lane stops.
  void wait(Exchange& exchange);
  // Stores complete batches. Waits until at most `most` incomplete ones are left.
  void store_complete(size_t most);

  const std::weak_ptr<RankThread> thread_;
  const int rank_, size_;
  const Cancellation cancellation_;
  const size_t batch_bytes_;
  double waited_ = 0;
  std::shared_ptr<const void> held_;           // the memory of the run's tensors
  std::shared_ptr<Batch> filling_;             // may be null
  std::deque<std::shared_ptr<Batch>> posted_;  // in the order in which they complete
  std::shared_ptr<Gathered> prefetched_;       // may be null
};

}  // namespace heddle
