#include "core/memory.h"

#include <cstdint>
#include <string>

#include "core/error.h"
#include "core/platform/lost_pages.h"
#include "core/platform/pages.h"

namespace heddle {

namespace {

// Returns the bytes to allocate. Systems reject empty mappings.
size_t reserved(size_t bytes) { return bytes ? bytes : 1; }

// Allocates memory of zeros. Throws OUT_OF_MEMORY.
void* reserve(size_t bytes, Accelerator* accelerator) {
  if (accelerator) return accelerator->allocate(reserved(bytes));
  void* p = map_pages(reserved(bytes));
  if (!p)
    throw Error("OUT_OF_MEMORY", "allocate: expected " + std::to_string(bytes) + " bytes, got none from the system");
  return p;
}

void free_memory(void* data, size_t bytes, Accelerator* accelerator) {
  if (accelerator) accelerator->release(data);
  else unmap_pages(data, reserved(bytes));
}

constexpr size_t least_for_large_pages = size_t{4} << 20;

}  // namespace

std::shared_ptr<Storage> Storage::allocate(size_t bytes, std::shared_ptr<Accelerator> accelerator, bool large_pages) {
  void* const data = reserve(bytes, accelerator.get());
  std::shared_ptr<Storage> made(new Storage(data, bytes, nullptr, std::move(accelerator)));
  // Large pages cause fewer TLB misses on streamed weights.
  if (large_pages && !made->accelerator_ && bytes >= least_for_large_pages) made->want_large_pages(0, bytes);
  return made;
}

void Storage::unload(std::exception_ptr why) {
  if (owner_ || whole_) throw invalid_argument("unload: expected a tensor with its own memory, got a part or a file");
  forget_packed();
  failure_ = std::move(why);
  if (!data_) return;
  free_memory(data_, bytes_, accelerator_.get());
  data_ = nullptr, ++moves_;
}

void Storage::reload() {
  if (data_ || whole_) return;
  data_ = static_cast<unsigned char*>(reserve(bytes_, accelerator_.get()));
  if (!accelerator_ && bytes_ >= least_for_large_pages) want_large_pages(0, bytes_);
  failure_ = nullptr, ++moves_;
}

void Storage::want_large_pages(size_t offset, size_t bytes) const { heddle::want_large_pages(data() + offset, bytes); }

void Storage::populate(size_t offset, size_t bytes) const { populate_pages(data() + offset, bytes); }

void Storage::check_mapping() const {
  if (owner_ && has_lost_pages(data())) throw Error("IO", "tensor: the mapped file was truncated while it was in use");
}

std::shared_ptr<Storage> Storage::borrow(void* data, size_t bytes, std::shared_ptr<void> owner) {
  return std::shared_ptr<Storage>(new Storage(data, bytes, std::move(owner), nullptr));
}

std::shared_ptr<Storage> Storage::packed(const char* layout) const {
  std::lock_guard<std::mutex> lock(packed_mutex_);
  return packed_layout_ == layout ? packed_ : nullptr;
}

void Storage::forget_packed() {
  if (whole_) whole_->forget_packed();
  std::lock_guard<std::mutex> lock(packed_mutex_);
  packed_layout_.clear(), packed_ = nullptr;
  partly_packed_ = {nullptr, 0, partly_packed_.version + 1};
}

bool Storage::begin_packing(const char* layout, PartlyPacked& from) {
  std::lock_guard<std::mutex> lock(packed_mutex_);
  if (being_packed_ || (packed_ && packed_layout_ == layout)) return false;
  if (packed_layout_ != layout)
    packed_layout_ = layout, packed_ = nullptr, partly_packed_ = {nullptr, 0, partly_packed_.version};
  being_packed_ = true;
  from = partly_packed_;
  return true;
}

void Storage::end_packing(const char* layout, PartlyPacked made, bool is_complete) {
  std::lock_guard<std::mutex> lock(packed_mutex_);
  being_packed_ = false;
  if (made.version != partly_packed_.version || packed_layout_ != layout) return;
  if (is_complete) packed_ = std::move(made.form), partly_packed_ = {nullptr, 0, made.version};
  else partly_packed_ = std::move(made);
}

std::shared_ptr<Storage> Storage::part(std::shared_ptr<Storage> whole, size_t offset, size_t bytes) {
  std::shared_ptr<Storage> made(new Storage(nullptr, bytes, whole->owner_, whole->accelerator_));
  made->whole_ = std::move(whole), made->offset_ = offset;
  return made;
}

void Storage::release_pages() const {
  if (owner_) release_file_pages(data(), bytes_);  // only pages of a file can be read again
}

Storage::~Storage() {
  if (!owner_ && !whole_ && data_) free_memory(data_, bytes_, accelerator_.get());
}

}  // namespace heddle
