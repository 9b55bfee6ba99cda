#include "core/mapping.h"

#include <algorithm>

#include "core/error.h"
#include "core/platform/lost_pages.h"

namespace heddle {

std::shared_ptr<Mapping> Mapping::open(const std::string& path) {
  // With an embedded NUL the system would open another file than the one named.
  if (path.empty() || path.find('\0') != std::string::npos)
    throw invalid_argument(std::string("path: expected a file name that is not empty and has no NUL, got ") +
                           (path.empty() ? "an empty one" : "one with a NUL"));
  return std::shared_ptr<Mapping>(new Mapping(path));
}

Mapping::Mapping(const std::string& path) : path_(path), file_(path), size_(file_.size()) {
  if (size_ == 0) return;  // systems reject empty mappings
  data_ = file_.map(size_);
  watch_pages(data_, size_);
}

Mapping::~Mapping() {
  if (data_) unwatch_pages(data_), File::unmap(data_, size_);
}

void Mapping::check_range(size_t offset, size_t length) const {
  if (offset > size_ || length > size_ - offset) {
    throw invalid_argument(path_ + ": expected a range within " + std::to_string(size_) + " bytes, got " +
                           std::to_string(length) + " bytes at " + std::to_string(offset));
  }
}

void Mapping::read(size_t offset, size_t length, void* to) const {
  check_range(offset, length);
  auto* out = static_cast<uint8_t*>(to);
  while (length > 0) {
    const size_t got = file_.read(offset, out, length);
    if (got == 0) throw truncated_to(std::min(offset, file_.size()));
    out += got;
    offset += got;
    length -= got;
  }
}

void Mapping::check() const {
  const size_t now = file_.size();
  if (now < size_) throw truncated_to(now);
}

Error Mapping::truncated_to(size_t bytes) const {
  return Error(
      "IO", path_ + ": expected " + std::to_string(size_) + " bytes, got a file truncated to " + std::to_string(bytes));
}

}  // namespace heddle
