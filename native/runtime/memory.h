// Page-aligned memory, obtained lazily zeroed from the operating system and given back whole.
#pragma once
#include <cstddef>
#include <memory>

namespace heddle {

// Bytes that a tensor or an arena owns, or borrows from a mapped file through `owner`.
class Storage {
 public:
  static std::shared_ptr<Storage> allocate(size_t bytes);  // zeroed; throws OUT_OF_MEMORY
  static std::shared_ptr<Storage> borrow(void* data, size_t bytes, std::shared_ptr<void> owner);  // read-only
  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  unsigned char* data() const { return data_; }
  size_t bytes() const { return bytes_; }
  bool writable() const { return !owner_; }

 private:
  Storage(void* data, size_t bytes, std::shared_ptr<void> owner)
      : data_(static_cast<unsigned char*>(data)), bytes_(bytes), owner_(std::move(owner)) {}
  unsigned char* data_;
  size_t bytes_;
  std::shared_ptr<void> owner_;
};

}  // namespace heddle
