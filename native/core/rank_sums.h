// The exchange of a running program with other ranks: it starts sums, which overlap with the rest of its computation,
// and collects values.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "core/tensor.h"

namespace heddle {

// Consecutive ranges of a value's elements, one for each of `ends.size()` consecutive ranks from `first` on. The first
// range begins at element 0. Each later range begins where the previous one ends.
struct RankRanges {
  int first = 0;
  std::vector<int64_t> ends;

  struct Range {
    int64_t begin = 0, end = 0;
  };
  // The range of a rank; empty if the rank has none.
  Range of(int rank) const {
    const int i = rank - first;
    if (i < 0 || i >= static_cast<int>(ends.size())) return {};
    return {i == 0 ? 0 : ends[static_cast<size_t>(i) - 1], ends[static_cast<size_t>(i)]};
  }
};

// Returns the minimum bytes of a batch of values that are summed together. Each rank receives about an equal part of a
// batch, and smaller messages would mostly be latency. HEDDLE_RANK_BATCH_BYTES overrides the result in tests.
size_t least_batch_bytes(int ranks);

// Only the lane's thread may call these functions. All ranks must start the same sums and collect the same values in
// the same order.
class RankSums {
 public:
  // Writes this rank's range of a value to `to`. On an accelerator, queues this write on the lane's stream.
  using Fill = std::function<void(void* to)>;

  virtual ~RankSums() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  // Starts to sum `value` over all ranks. This rank's range of the sums overwrites `own`, or is added to it. `value`
  // may be overwritten after the call. On the CPU, `own` has the sums after finish(). On an accelerator, the sums are
  // queued on the lane's stream, and `add` must be false.
  virtual void start(const float* value, const RankRanges& ranges, float* own, bool add) = 0;
  // Keeps `memory`, which holds the run's tensors, allocated as long as sums of start_in_place() may write to it. These
  // sums may go on after the run has failed. Called at the start of a run.
  virtual void hold(std::shared_ptr<const void> memory) = 0;
  // Starts to sum `count` numbers of f32 or bf16 over all ranks, in place. If `ranges` is null, every rank receives all
  // sums. Otherwise each rank receives those of its range, and the other numbers do not change. The memory must be
  // held, and nothing may use it before finish().
  virtual void start_in_place(void* value, DType type, size_t count, const RankRanges* ranges) = 0;
  // Collects a value from all ranks in `whole`. On the CPU, waits for it. On an accelerator, the value is queued on the
  // lane's stream. `element`: bytes of an element. Throws IO if a rank is lost.
  virtual void gather(const Fill& fill, const RankRanges& ranges, size_t element, void* whole) = 0;
  // Starts to collect a value that a later gather() returns. At most one value may wait for its gather(). An
  // implementation may do nothing.
  virtual void prefetch(const Fill&, const RankRanges&, size_t /*element*/) {}
  // Waits for all sums that have been started. Throws IO if a rank is lost.
  virtual void finish() = 0;
  // Forgets the sums that have been started, because the run has failed on this rank. The other ranks must not continue
  // either.
  virtual void abandon() = 0;
  // Returns the seconds that start(), gather() and finish() have waited for other ranks since the last call. On an
  // accelerator, the device must have finished the run. The result is the time that its stream has waited in finish().
  // Waits of sums that start() has queued, and of gather(), are not measured.
  virtual double take_waited_seconds() = 0;
};

}  // namespace heddle
