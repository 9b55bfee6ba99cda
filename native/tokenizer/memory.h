// Large memory straight from the system, given back to it at once: malloc keeps what a thread has freed, and ten threads that load a
// vocabulary would keep it ten times.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>

namespace heddle {

// Room for `size` bytes with the first `used` of what was there; null where there is no memory. What is not written to costs nothing.
void* resize_memory(void* memory, size_t old_size, size_t size, size_t used) noexcept;
void give_memory(void* memory, size_t size) noexcept;

// Zeros, for tables that are filled at random: in large pages where the system has them, since each page costs a fault when it is first
// touched and a place in the translation buffer ever after. Null where there is no memory. Without `in_large_pages` only what is touched
// takes memory. Not calloc: once malloc keeps what is freed, that writes all of its zeros itself.
void* take_zeros(size_t size, bool in_large_pages = true) noexcept;
void give_zeros(void* memory, size_t size, bool in_large_pages = true) noexcept;

template <class T>
class ZeroTable {
 public:
  explicit ZeroTable(size_t count) : memory_(take(count), Give{count * sizeof(T)}) {}
  T& operator[](size_t i) { return memory_.get()[i]; }
  const T& operator[](size_t i) const { return memory_.get()[i]; }

 private:
  static T* take(size_t count) {
    void* memory = count <= SIZE_MAX / sizeof(T) ? take_zeros(count * sizeof(T)) : nullptr;
    if (memory == nullptr) throw std::bad_alloc();
    return static_cast<T*>(memory);
  }
  struct Give {
    size_t size;
    void operator()(T* memory) const { give_zeros(memory, size); }
  };
  std::unique_ptr<T, Give> memory_;
};

}  // namespace heddle
