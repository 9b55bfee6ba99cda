// Allocates large blocks from the system, and returns them to the system as soon as they are freed. malloc would keep
// freed blocks for each thread. Ten threads that load a vocabulary would then keep ten times its size.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>

namespace heddle {

// Resizes to `size` bytes and keeps the first `used`. Returns null if memory is short. Untouched pages cost nothing.
void* resize_memory(void* memory, size_t old_size, size_t size, size_t used) noexcept;
void give_memory(void* memory, size_t size) noexcept;

// Allocates zeroed memory for tables with random access. Uses large pages if possible, because they save page faults
// and TLB entries. Returns null if memory is short. Without `in_large_pages`, only touched pages take memory. calloc
// serves only small tables: it writes the zeros itself when it reuses freed memory.
void* take_zeros(size_t size, bool in_large_pages = true) noexcept;
void give_zeros(void* memory, size_t size, bool in_large_pages = true) noexcept;

template <class T> class ZeroTable {
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
