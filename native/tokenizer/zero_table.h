// Tables that begin as zeros and are filled at random: large ones lie in large pages where the system has them, since each page costs a
// fault when it is first touched and a place in the translation buffer ever after.
#pragma once
#include <cstddef>
#include <memory>
#include <new>

namespace heddle {

// Null where there is no memory. `size` must be given back.
void* take_zeros(size_t size) noexcept;
void give_zeros(void* memory, size_t size) noexcept;

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
