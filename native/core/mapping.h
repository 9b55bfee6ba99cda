// A file mapped read-only into memory. Kernels read weights from the page cache without a copy.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "core/error.h"
#include "core/platform/file.h"

namespace heddle {

// Owners share a mapping through std::shared_ptr. It lives as long as the last tensor that points into it.
//
// If another program truncates the file after it was mapped, touching a lost page raises SIGBUS. No check beforehand
// can exclude that race. Therefore the size comes from the same descriptor that is mapped, and read() uses the
// system's read, which reports a truncation as an error. A lost page that a kernel touches reads as zeros and sets a
// flag (lost_pages.h), which a run checks at its end. Files that are replaced by rename, as heddle itself writes them,
// are safe: the mapping keeps the old file alive.
class Mapping {
 public:
  // Throws Error INVALID_ARGUMENT (a path that is empty or has a NUL), NOT_FOUND (no such file), INVALID_FILE (not a
  // regular file), OUT_OF_MEMORY or IO (such as missing permission).
  static std::shared_ptr<Mapping> open(const std::string& path);
  ~Mapping();
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  const uint8_t* data() const { return data_; }  // page-aligned; nullptr for an empty file
  size_t size() const { return size_; }          // bytes
  const std::string& path() const { return path_; }

  // Copies [offset, offset + length) to `to`. Throws INVALID_ARGUMENT outside the file, and IO if the file has shrunk.
  void read(size_t offset, size_t length, void* to) const;
  // Throws IO if the file is shorter than when it was mapped.
  void check() const;
  // Throws INVALID_ARGUMENT unless [offset, offset + length) lies inside the file.
  void check_range(size_t offset, size_t length) const;

 private:
  explicit Mapping(const std::string& path);
  Error truncated_to(size_t bytes) const;

  std::string path_;
  File file_;
  size_t size_;
  const uint8_t* data_ = nullptr;
};

}  // namespace heddle
