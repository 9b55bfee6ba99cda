#include "tokenizer/zero_table.h"

#include <cstdint>
#include <cstdlib>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace heddle {

#if defined(__linux__)
namespace {
constexpr size_t large_page = size_t{2} << 20;
size_t rounded(size_t size) { return (size + large_page - 1) & ~(large_page - 1); }
}  // namespace

// Memory straight from the system is zero; of a little more, a part begins where a large page does.
void* take_zeros(size_t size) noexcept {
  if (size < large_page) return std::calloc(1, size);
  if (size > SIZE_MAX - 2 * large_page) return nullptr;
  const size_t wanted = rounded(size);
  void* taken = mmap(nullptr, wanted + large_page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (taken == MAP_FAILED) return nullptr;
  const auto begin = reinterpret_cast<uintptr_t>(taken);
  const uintptr_t first = rounded(begin);
  if (first > begin) munmap(taken, first - begin);
  const uintptr_t end = begin + wanted + large_page;
  if (end > first + wanted) munmap(reinterpret_cast<void*>(first + wanted), end - (first + wanted));
  void* memory = reinterpret_cast<void*>(first);
  (void)madvise(memory, wanted, MADV_HUGEPAGE);  // a wish: refused, it is memory all the same
  return memory;
}

void give_zeros(void* memory, size_t size) noexcept {
  if (size < large_page) return std::free(memory);
  munmap(memory, rounded(size));
}
#else
void* take_zeros(size_t size) noexcept { return std::calloc(1, size); }
void give_zeros(void* memory, size_t) noexcept { std::free(memory); }
#endif

}  // namespace heddle
