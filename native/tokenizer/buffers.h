// Growable buffers for ids and UTF-8 text. New memory is uninitialized, because callers write it before they read it.
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <new>
#include <string_view>
#include <utility>

#include "tokenizer/memory.h"

namespace heddle {

template <class T> class RawBuffer {
 public:
  RawBuffer() = default;
  RawBuffer(RawBuffer&& other) noexcept { swap(other); }
  RawBuffer& operator=(RawBuffer&& other) noexcept {
    swap(other);
    return *this;
  }
  ~RawBuffer() { give_memory(data_, capacity_ * sizeof(T)); }

  T* data() { return data_; }
  const T* data() const { return data_; }
  size_t capacity() const { return capacity_; }

  // Reserves room for `count` elements in total. Keeps the content.
  void reserve(size_t count) {
    if (count <= capacity_) return;
    if (count < 2 * capacity_) count = 2 * capacity_;
    if (count > SIZE_MAX / sizeof(T)) throw std::bad_alloc();
    const size_t before = capacity_ * sizeof(T);
    void* grown = resize_memory(data_, before, count * sizeof(T), before);
    if (grown == nullptr) throw std::bad_alloc();
    data_ = static_cast<T*>(grown);
    capacity_ = count;
  }

 private:
  void swap(RawBuffer& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(capacity_, other.capacity_);
  }
  T* data_ = nullptr;
  size_t capacity_ = 0;
};

// A growing list of elements.
template <class T> class GrowingBuffer {
 public:
  GrowingBuffer() = default;
  GrowingBuffer(GrowingBuffer&& other) noexcept
      : buffer_(std::move(other.buffer_)), size_(std::exchange(other.size_, 0)) {}
  GrowingBuffer& operator=(GrowingBuffer&& other) noexcept {
    std::swap(buffer_, other.buffer_);
    std::swap(size_, other.size_);
    return *this;
  }
  void clear() { size_ = 0; }
  size_t size() const { return size_; }
  size_t capacity() const { return buffer_.capacity(); }
  T* data() { return buffer_.data(); }
  const T* data() const { return buffer_.data(); }
  // Returns uninitialized space for `count` elements after the last one. Valid until the buffer grows again.
  T* room(size_t count) {
    if (buffer_.capacity() - size_ < count) buffer_.reserve(size_ + count + 64);
    return buffer_.data() + size_;
  }
  void took(size_t count) { size_ += count; }  // adds elements that the caller wrote to room()
  void append(const T* elements, size_t count) {
    if (count != 0) std::memcpy(room(count), elements, count * sizeof(T));
    size_ += count;
  }

 protected:
  RawBuffer<T> buffer_;
  size_t size_ = 0;
};

// A growing list of ids or offsets.
class IdBuffer : public GrowingBuffer<uint32_t> {
 public:
  bool empty() const { return size_ == 0; }
  const uint32_t* begin() const { return data(); }
  const uint32_t* end() const { return data() + size_; }
  uint32_t operator[](size_t i) const { return data()[i]; }
  bool operator==(const IdBuffer& other) const {
    return size_ == other.size_ && std::equal(begin(), end(), other.begin());
  }
  void push_back(uint32_t id) {
    *room(1) = id;
    ++size_;
  }
  // Appends the first `count` ids of a block. Copies the whole block, because a copy of fixed size needs no loop.
  template <size_t block> void add_block(const uint32_t (&ids)[block], size_t count) {
    uint32_t* to = room(block);
    for (size_t i = 0; i < block; ++i) to[i] = ids[i];
    size_ += count;
  }
};

// Text that grows at its end.
class TextBuffer : public GrowingBuffer<char> {
 public:
  std::string_view view() const { return {data(), size_}; }
  void append(std::string_view text) { GrowingBuffer::append(text.data(), text.size()); }
  void shorten(size_t size) { size_ = size; }
};

// UTF-8 followed by zeros, so that code may read whole blocks at its end.
class Utf8Buffer {
 public:
  static constexpr size_t padding = 16;

  // Discards the content and makes room for `bytes` bytes.
  char* start(size_t bytes) {
    buffer_.reserve(bytes + padding);
    return buffer_.data();
  }
  void finish(size_t bytes) {
    size_ = bytes;
    std::memset(buffer_.data() + bytes, 0, padding);
  }
  std::string_view view() const { return {buffer_.data(), size_}; }

 private:
  RawBuffer<char> buffer_;
  size_t size_ = 0;
};

}  // namespace heddle
