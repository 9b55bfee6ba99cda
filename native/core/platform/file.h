// A file opened for reading, and its mapping into memory.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>

namespace heddle {

// Functions throw an Error with code NOT_FOUND (no such file), INVALID_FILE (not a regular file), OUT_OF_MEMORY or IO.
// Its message begins with the path.
class File {
 public:
  // Opens a regular file. `path` is UTF-8 without NUL. Other processes may then rename, replace or delete it.
  explicit File(const std::string& path);
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  size_t size() const;  // current size in bytes
  // Maps the first `bytes` read-only, at a page boundary. The mapping outlives the File.
  const uint8_t* map(size_t bytes) const;
  static void unmap(const uint8_t* data, size_t bytes) noexcept;
  // Reads up to `bytes` from `offset` on. Returns the number read, which is 0 at the end of the file.
  size_t read(size_t offset, void* to, size_t bytes) const;

 private:
  struct Handle {
    intptr_t value;  // a descriptor or a HANDLE
    ~Handle();       // closes it
  };
  std::string path_;
  Handle handle_;
};

}  // namespace heddle
