// Limits how much of a run may be spent on packing weights, so that no run takes much longer than the following ones.
#pragma once
#include <algorithm>
#include <cstddef>

namespace heddle {

// Packing takes about ten times as long as reading the weights, because the system has to map the pages of a copy. A
// run may therefore spend a share of its expected time, which earlier runs determine. Overspent time is taken from the
// following runs. Time that is left over is saved only until it suffices for one piece. If all packed forms together
// are small, they are packed at once, in less than a millisecond.
class PackingBudget {
 public:
  // Starts a run. `bytes`: total size of its weights' packed forms. `work`: the sum of each form's size times its rows
  // of activations. `first`: some of these weights are read for the first time.
  void begin(double work, double bytes, bool first) {
    work_ = std::max(work, 1.0), first_ = first && work < many_rows * bytes, small_ = bytes <= small_bytes;
    const double gain = share * std::min(last_.seconds_of(work), before_.seconds_of(work));
    // Runs that are too short for a piece accumulate credit for one. The debt is limited, so that a piece that was
    // slowed by other processes is soon paid off.
    credit_ = std::min(
        std::max(credit_, -max_debt * gain) + gain, std::max(gain, static_cast<double>(min_piece) * seconds_per_byte_));
  }
  // Returns how many of the `rest` bytes may be packed now. 0 means none before the next run.
  size_t bytes(size_t rest) const {
    if (small_) return rest;
    const size_t least = std::min(rest, min_piece);
    if (credit_ < static_cast<double>(least) * seconds_per_byte_) return 0;
    return std::min({rest, max_piece, std::max(least, static_cast<size_t>(credit_ / seconds_per_byte_))});
  }
  // Records that packing `bytes` took `seconds`.
  void packed(size_t bytes, double seconds) {
    credit_ -= seconds;
    seconds_per_byte_ = std::min(slowest, (seconds_per_byte_ + seconds / static_cast<double>(bytes)) / 2);
  }
  // Ends a run that took `seconds`, not counting the time for packing.
  void end(double seconds) {
    // A first run may have waited for a disk. Its time counts only with many rows, which take longer to multiply than
    // the weights take to read.
    if (first_) return;
    before_ = last_.seconds > 0 ? last_ : Past{seconds, work_};
    last_ = {seconds, work_};
  }

 private:
  static constexpr double share = 0.25;  // of a run's expected time
  static constexpr double many_rows = 128, small_bytes = 1 << 20;
  static constexpr double max_debt = 8;    // in multiples of a run's gain
  static constexpr double slowest = 4e-9;  // per byte: several times the cost of pages in fragmented memory
  static constexpr size_t min_piece = size_t{1} << 18, max_piece = size_t{1} << 24;
  struct Past {
    double seconds = 0, work = 1;
    // Returns a lower bound of the time for `other` work. More work takes at least as long, and less work at least its
    // share.
    double seconds_of(double other) const { return seconds * std::min(1.0, other / work); }
  };
  Past last_, before_;              // two runs, because other processes may have slowed one of them
  double work_ = 1;                 // of the current run
  double credit_ = 0;               // seconds that may be spent on packing; negative: debt
  double seconds_per_byte_ = 1e-9;  // moving average of the cost of packing
  bool first_ = false, small_ = false;
};

}  // namespace heddle
