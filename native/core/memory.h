// Memory of tensors and arenas: pages of the operating system, or of a device that has its own.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <string>

#include "runtime/accelerator.h"

namespace heddle {

// Bytes that a tensor or an arena owns, or borrows from a mapped file through `owner`.
class Storage {
 public:
  // Allocates memory that the system zeroes lazily, on `accelerator` if given. Throws OUT_OF_MEMORY. Large pages are
  // requested at once, or part by part with want_large_pages.
  static std::shared_ptr<Storage> allocate(
      size_t bytes, std::shared_ptr<Accelerator> accelerator = nullptr, bool large_pages = true);
  void want_large_pages(size_t offset, size_t bytes) const;
  // Has the system make these pages, which are about to be written, at once and not one fault after the other.
  void populate(size_t offset, size_t bytes) const;
  static std::shared_ptr<Storage> borrow(void* data, size_t bytes, std::shared_ptr<void> owner);  // read-only
  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  unsigned char* data() const { return data_; }
  size_t bytes() const { return bytes_; }
  bool writable() const { return !owner_ && !read_only_; }
  Accelerator* accelerator() const { return accelerator_.get(); }  // null: the CPU's memory

  // Returns the packed form of these weights (Packing), which all programs share, or null. Whoever writes to the
  // storage must drop it.
  std::shared_ptr<Storage> packed(const char* layout) const;
  void forget_packed();
  // A form of which runs have made some parts. One run at a time has it.
  struct PartlyPacked {
    std::shared_ptr<Storage> form;  // null until the first part is made
    int64_t parts = 0;              // how many are made, from the first on
    uint64_t version = 0;           // changes when the tensor is written
  };
  // False where the form is whole, or another run is making it.
  bool begin_packing(const char* layout, PartlyPacked& from);
  // Drops the parts if the tensor has been written meanwhile.
  void end_packing(const char* layout, PartlyPacked made, bool whole);
  // Whether a program's run has read it through, which may have packed as it went.
  bool was_streamed() const { return was_streamed_.load(std::memory_order_relaxed); }
  void mark_streamed() { was_streamed_.store(true, std::memory_order_relaxed); }
  // Gives the pages of a mapped file back; the system reads them again when they are touched.
  void release_pages() const;

  // A copy of a file on a device: read-only like the file, and unusable when the copying failed. Lane thread only.
  void make_read_only() { read_only_ = true; }
  void fail(std::exception_ptr failure) { failure_ = failure; }
  void check() const {
    if (failure_) std::rethrow_exception(failure_);
  }
  // Throws IO where bytes of a mapped file were lost, whenever: to be called after they were used.
  void check_whole() const;

 private:
  Storage(void* data, size_t bytes, std::shared_ptr<void> owner, std::shared_ptr<Accelerator> accelerator)
      : data_(static_cast<unsigned char*>(data)), bytes_(bytes), owner_(std::move(owner)),
        accelerator_(std::move(accelerator)) {}
  unsigned char* data_;
  size_t bytes_;
  std::shared_ptr<void> owner_;
  std::shared_ptr<Accelerator> accelerator_;
  bool read_only_ = false;
  std::atomic<bool> was_streamed_{false};
  mutable std::mutex packed_mutex_;
  std::string packed_layout_;
  std::shared_ptr<Storage> packed_;  // whole
  PartlyPacked partly_packed_;
  bool being_packed_ = false;
  std::exception_ptr failure_;
};

// Bytes that the system, and the control groups of this process, can still give without taking any back that are in
// use; the largest number where neither says. `root`: where /proc and /sys lie.
size_t available_memory(const std::string& root = "");

}  // namespace heddle
