// How much of a run may go into packing weights, so that no run takes much longer than those after it.
#pragma once
#include <algorithm>
#include <cstddef>

namespace heddle {

// Packing costs about ten times as much as reading the weights, because the system has to make the pages of a copy. A
// run may therefore spend a share of its expected time, which the runs before it tell. Time that is left over, or
// overspent, counts for the next run. Forms that are small together are packed at once, in less than a millisecond.
class PackingPace {
 public:
  // Starts a run. `bytes`: the size of its weights' forms. `work`: the same, each times its rows of activations.
  // `first`: no run before has read all of these weights.
  void begin(double work, double bytes, bool first) {
    work_ = std::max(work, 1.0), first_ = first && work < many_rows * bytes, small_ = bytes <= small_bytes;
    const double gain = share * std::min(last_.seconds_of(work), before_.seconds_of(work));
    // Runs that are shorter than a piece save up for one. A piece during which others had the processor is soon paid
    // for.
    credit_ = std::min(std::max(credit_, -most_debt * gain) + gain,
        std::max(gain, static_cast<double>(least_piece) * seconds_per_byte_));
  }
  // Returns how many of the `rest` bytes may be packed now. 0 means none before the next run.
  size_t bytes(size_t rest) const {
    if (small_) return rest;
    const size_t least = std::min(rest, least_piece);
    if (credit_ < static_cast<double>(least) * seconds_per_byte_) return 0;
    return std::min({rest, most_piece, std::max(least, static_cast<size_t>(credit_ / seconds_per_byte_))});
  }
  void packed(size_t bytes, double seconds) {
    credit_ -= seconds;
    seconds_per_byte_ = std::min(slowest, (seconds_per_byte_ + seconds / static_cast<double>(bytes)) / 2);
  }
  // Ends a run, which took so long without its packing.
  void end(double seconds) {
    // A first run may have waited for a disk. Its time counts only for many rows, which take longer to multiply than to
    // read.
    if (first_) return;
    before_ = last_.seconds > 0 ? last_ : Past{seconds, work_};
    last_ = {seconds, work_};
  }

 private:
  static constexpr double share = 0.25, many_rows = 128, small_bytes = 1 << 20, most_debt = 8;
  static constexpr double slowest = 4e-9;  // of a byte: several times what pages take where memory is in pieces
  static constexpr size_t least_piece = size_t{1} << 18, most_piece = size_t{1} << 24;
  struct Past {
    double seconds = 0, work = 1;
    // A lower bound for a run of `other` work: more work takes no less time, and less work takes at least its share.
    double seconds_of(double other) const { return seconds * std::min(1.0, other / work); }
  };
  Past last_, before_;  // two, because other processes may have held up one of them
  double work_ = 1, credit_ = 0, seconds_per_byte_ = 1e-9;
  bool first_ = false, small_ = false;
};

}  // namespace heddle
