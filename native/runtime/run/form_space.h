// The memory of an executable's packed weights.
#pragma once
#include <algorithm>
#include <cstddef>
#include <memory>

#include "core/memory.h"
#include "core/round.h"

namespace heddle {

// One allocation holds all missing packed forms, so that the system can use large pages. Pages are committed when they
// are written.
//
// Large pages need fewer page faults than small ones. But if memory is fragmented, the system compacts it first, which
// costs more than the faults. Large pages are therefore requested part by part. After one slow part, the next part uses
// small pages. After two slow parts, the next three do, and so on.
class FormSpace {
 public:
  explicit FormSpace(size_t bytes) : all_(Storage::allocate(bytes, nullptr, false)) {}

  // Returns memory for a packed form, or null if too little is left.
  std::shared_ptr<Storage> take(size_t bytes) {
    if (bytes > all_->bytes() - used_) return nullptr;
    const std::shared_ptr<Storage> form = Storage::borrow(all_->data() + used_, bytes, all_);
    used_ += padded_to_line(bytes);
    return form;
  }
  // Prepares the pages of bytes that are about to be written, and decides whether they are large. Ignores bytes outside
  // this space.
  void prepare(const unsigned char* at, size_t bytes) {
    if (at < all_->data() || at >= all_->data() + all_->bytes()) return;
    const size_t offset = static_cast<size_t>(at - all_->data());
    if (offset < end_) return;
    if (requested_) skips_left_ = skips_ = seconds_ > static_cast<double>(done_) * slow_seconds ? 2 * skips_ + 1 : 0;
    requested_ = skips_left_ == 0;
    if (!requested_) --skips_left_;
    end_ = std::min(all_->bytes(), offset + std::max(part_bytes, bytes)), done_ = 0, seconds_ = 0;
    if (requested_) all_->want_large_pages(offset, end_ - offset);
  }
  // Records how long it took to write bytes.
  void record_time(size_t bytes, double seconds) { done_ += bytes, seconds_ += seconds; }

 private:
  static constexpr size_t part_bytes = size_t{1} << 22;
  static constexpr double slow_seconds = 0.4e-9;  // per byte: twice as long as packing into small pages
  const std::shared_ptr<Storage> all_;
  size_t used_ = 0;         // bytes that take() has given out
  size_t end_ = 0;          // end of the current part
  size_t done_ = 0;         // bytes written to the current part
  double seconds_ = 0;      // time that writing them took
  int skips_ = 0;           // number of parts to skip after the last slow part
  int skips_left_ = 0;      // number of parts that are still to be skipped
  bool requested_ = false;  // whether large pages were requested for the current part
};

}  // namespace heddle
