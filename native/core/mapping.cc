#include "core/mapping.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "core/error.h"
#include "core/lost_pages.h"

namespace heddle {
namespace {

Error io_error(const std::string& path, const char* what, int code) {
  const char* kind = code == ENOENT || code == ENOTDIR ? "NOT_FOUND" : code == ENOMEM ? "OUT_OF_MEMORY" : "IO";
  return Error(kind, path + ": " + what + ": " + std::generic_category().message(code));
}

struct Descriptor {
  int value;
  ~Descriptor() {
    if (value >= 0) ::close(value);
  }
  void release() { value = -1; }
};

}  // namespace

std::shared_ptr<Mapping> Mapping::open(const std::string& path) {
  // With an embedded NUL the system would open another file than the one named.
  if (path.empty() || path.find('\0') != std::string::npos) throw invalid_argument("path: expected a file name");
  // O_NONBLOCK: opening a pipe without a writer would block for ever; it has no effect on regular files.
  Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  if (file.value < 0) throw io_error(path, "cannot be opened", errno);
  struct stat info;
  if (::fstat(file.value, &info) != 0) throw io_error(path, "cannot be examined", errno);
  if (!S_ISREG(info.st_mode)) {
    throw invalid_file(path + ": expected a regular file, got " + (S_ISDIR(info.st_mode) ? "a folder" : "a device"));
  }
  auto size = static_cast<size_t>(info.st_size);
  const uint8_t* data = nullptr;
  if (size > 0) {  // mmap rejects empty ranges
    void* mapped = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, file.value, 0);
    if (mapped == MAP_FAILED) throw io_error(path, "cannot be mapped into memory", errno);
    data = static_cast<const uint8_t*>(mapped);
    watch_pages(data, size);
  }
  Mapping* mapping = nullptr;
  try {
    mapping = new Mapping(path, file.value, data, size);
  } catch (...) {
    if (data) unwatch_pages(data), ::munmap(const_cast<uint8_t*>(data), size);
    throw;
  }
  file.release();  // the destructor closes the descriptor from here on
  return std::shared_ptr<Mapping>(mapping);
}

Mapping::~Mapping() {
  if (data_) unwatch_pages(data_), ::munmap(const_cast<uint8_t*>(data_), size_);
  ::close(descriptor_);
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
    ssize_t got = ::pread(descriptor_, out, std::min(length, size_t{1} << 30), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw io_error(path_, "cannot be read", errno);
    if (got == 0)
      throw Error("IO", path_ + ": expected " + std::to_string(size_) + " bytes, the file has been truncated to " +
                            std::to_string(offset));
    out += got;
    offset += static_cast<size_t>(got);
    length -= static_cast<size_t>(got);
  }
}

void Mapping::check() const {
  struct stat info;
  if (::fstat(descriptor_, &info) != 0) throw io_error(path_, "cannot be examined", errno);
  if (static_cast<size_t>(info.st_size) < size_) {
    throw Error("IO", path_ + ": expected " + std::to_string(size_) + " bytes, the file has been truncated to " +
                          std::to_string(info.st_size));
  }
}

}  // namespace heddle
