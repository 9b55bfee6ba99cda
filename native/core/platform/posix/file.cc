#include "core/platform/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "core/error.h"
#include "core/platform/posix/file_status.h"

namespace heddle {
namespace {

Error io_error(const std::string& path, const char* what, int code) {
  const char* kind = code == ENOENT || code == ENOTDIR ? "NOT_FOUND" : code == ENOMEM ? "OUT_OF_MEMORY" : "IO";
  return Error(kind, path + ": " + what + ": " + std::generic_category().message(code));
}

int opened(const std::string& path) {
  // Without O_NONBLOCK, opening a pipe that has no writer would block forever. The flag has no effect on regular files.
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) throw io_error(path, "cannot be opened", errno);
  return descriptor;
}

struct stat examined(const std::string& path, intptr_t descriptor) {
  struct stat info;
  if (!file_status(static_cast<int>(descriptor), info)) throw io_error(path, "cannot be examined", errno);
  return info;
}

}  // namespace

File::File(const std::string& path) : path_(path), handle_{opened(path)} {
  const mode_t mode = examined(path, handle_.value).st_mode;
  if (!S_ISREG(mode)) {
    throw invalid_file(path + ": expected a regular file, got " + (S_ISDIR(mode) ? "a folder" : "a device"));
  }
}

File::Handle::~Handle() { ::close(static_cast<int>(value)); }

size_t File::size() const { return static_cast<size_t>(examined(path_, handle_.value).st_size); }

const uint8_t* File::map(size_t bytes) const {
  void* mapped = ::mmap(nullptr, bytes, PROT_READ, MAP_SHARED, static_cast<int>(handle_.value), 0);
  if (mapped == MAP_FAILED) throw io_error(path_, "cannot be mapped into memory", errno);
  return static_cast<const uint8_t*>(mapped);
}

void File::unmap(const uint8_t* data, size_t bytes) noexcept { ::munmap(const_cast<uint8_t*>(data), bytes); }

size_t File::read(size_t offset, void* to, size_t bytes) const {
  while (true) {
    const ssize_t got =
        ::pread(static_cast<int>(handle_.value), to, std::min(bytes, size_t{1} << 30), static_cast<off_t>(offset));
    if (got >= 0) return static_cast<size_t>(got);
    if (errno != EINTR) throw io_error(path_, "cannot be read", errno);
  }
}

}  // namespace heddle
