// Memory of tensors and arenas: pages of the operating system, or memory of a device.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <string>

#include "core/accelerator.h"

namespace heddle {

// Bytes that a tensor or an arena owns, or that it borrows from a mapped file or another allocation, kept alive by
// `owner`.
class Storage {
 public:
  // Allocates zeroed memory, on `accelerator` if given. Throws OUT_OF_MEMORY. With `large_pages`, requests large pages
  // for CPU memory of 4 MiB or more. Without it, the caller can request them part by part with want_large_pages.
  static std::shared_ptr<Storage> allocate(
      size_t bytes, std::shared_ptr<Accelerator> accelerator = nullptr, bool large_pages = true);
  void want_large_pages(size_t offset, size_t bytes) const;
  // Asks the system to map these pages at once, because they are about to be written. Page faults would cost more.
  void populate(size_t offset, size_t bytes) const;
  // Returns a storage whose memory `owner` keeps alive. No tensor operation writes to it: writable() is false.
  static std::shared_ptr<Storage> borrow(void* data, size_t bytes, std::shared_ptr<void> owner);
  // Returns a part of `whole`, which stays allocated as long as the part. The part is writable if the whole is.
  static std::shared_ptr<Storage> part(std::shared_ptr<Storage> whole, size_t offset, size_t bytes);
  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  // Null while the memory is unloaded.
  unsigned char* data() const {
    if (!whole_) return data_;
    unsigned char* const begin = whole_->data();
    return begin ? begin + offset_ : nullptr;
  }
  size_t bytes() const { return bytes_; }
  bool writable() const { return whole_ ? whole_->writable() : !owner_ && !read_only_; }
  Accelerator* accelerator() const { return accelerator_.get(); }  // null: the CPU's memory

  // Returns the packed form of these weights (Packing), which all programs share, or null. Code that writes to the
  // storage must call forget_packed() first.
  std::shared_ptr<Storage> packed(const char* layout) const;
  void forget_packed();
  // An incomplete packed form: runs have packed some of its parts. Only one run at a time may hold it.
  struct PartlyPacked {
    std::shared_ptr<Storage> form;  // null until the first part is packed
    int64_t parts = 0;              // number of packed parts, from the first on
    uint64_t version = 0;           // changes when forget_packed() is called
  };
  // Begins or continues packing. `from` receives the parts packed so far. Returns false if the form is complete, or if
  // another run is packing it.
  bool begin_packing(const char* layout, PartlyPacked& from);
  // Stores the packed parts. `is_complete`: all parts are packed. Drops the parts if the tensor has been written
  // meanwhile.
  void end_packing(const char* layout, PartlyPacked made, bool is_complete);
  // Whether a run of a program has read, or begun to read, all of the tensor. Only later runs pack it.
  bool was_streamed() const { return was_streamed_.load(std::memory_order_relaxed); }
  void mark_streamed() { was_streamed_.store(true, std::memory_order_relaxed); }
  // Returns the pages of a mapped file to the system, which reads them again when they are touched.
  void release_pages() const;

  // Marks a copy of a file as read-only, like the file. Call it before other threads use the copy.
  void make_read_only() { read_only_ = true; }
  // Stores the error of a failed copy, which check() then throws. Lane thread only.
  void fail(std::exception_ptr failure) { failure_ = failure; }
  void check() const {
    if (whole_) whole_->check();
    if (failure_) std::rethrow_exception(failure_);
  }
  // Frees the memory until reload(). Meanwhile check() throws `why`. Lane thread only. Throws INVALID_ARGUMENT for a
  // part of another storage, and for a mapped file.
  void unload(std::exception_ptr why);
  // Allocates the memory again, with zeros. Does nothing if it has not been unloaded. Lane thread only. Throws
  // OUT_OF_MEMORY.
  void reload();
  // Changes whenever data() does.
  uint64_t moves() const { return whole_ ? whole_->moves() : moves_; }
  // Throws IO if bytes of the mapped file have been lost since it was mapped. Call it after using the bytes.
  void check_mapping() const;

 private:
  Storage(void* data, size_t bytes, std::shared_ptr<void> owner, std::shared_ptr<Accelerator> accelerator)
      : data_(static_cast<unsigned char*>(data)), bytes_(bytes), owner_(std::move(owner)),
        accelerator_(std::move(accelerator)) {}
  unsigned char* data_;  // unused by a part
  size_t bytes_;
  std::shared_ptr<void> owner_;
  std::shared_ptr<Storage> whole_;  // of which this is a part
  size_t offset_ = 0;               // of the part in `whole_`
  uint64_t moves_ = 0;
  std::shared_ptr<Accelerator> accelerator_;
  bool read_only_ = false;
  std::atomic<bool> was_streamed_{false};
  mutable std::mutex packed_mutex_;
  std::string packed_layout_;
  std::shared_ptr<Storage> packed_;  // the complete packed form
  PartlyPacked partly_packed_;
  bool being_packed_ = false;
  std::exception_ptr failure_;
};

}  // namespace heddle
