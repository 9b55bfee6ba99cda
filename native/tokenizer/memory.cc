#include "tokenizer/memory.h"

#include <cstdlib>
#include <cstring>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace heddle {

#if defined(__linux__)
namespace {
constexpr size_t large_page = size_t{2} << 20;
size_t rounded(size_t size) { return (size + large_page - 1) & ~(large_page - 1); }

constexpr size_t min_mapped = size_t{64} << 10;
constexpr int access = PROT_READ | PROT_WRITE, kind = MAP_PRIVATE | MAP_ANONYMOUS;
}  // namespace

void* resize_memory(void* memory, size_t old_size, size_t size, size_t used) noexcept {
  const bool was_mapped = old_size >= min_mapped, maps = size >= min_mapped;
  if (!was_mapped && !maps) return std::realloc(memory, size);
  if (size > SIZE_MAX / 2) return nullptr;
  void* made = nullptr;
  if (was_mapped && maps) {
    made = mremap(memory, old_size, size, MREMAP_MAYMOVE);
    return made == MAP_FAILED ? nullptr : made;
  }
  made = maps ? mmap(nullptr, size, access, kind, -1, 0) : std::malloc(size);
  if (made == nullptr || made == MAP_FAILED) return nullptr;
  if (used > 0) std::memcpy(made, memory, used);
  give_memory(memory, old_size);
  return made;
}

void give_memory(void* memory, size_t size) noexcept {
  if (size < min_mapped) std::free(memory);
  else munmap(memory, size);
}

// Memory from mmap is zero. Allocates somewhat more, so that a part begins at a large-page boundary.
void* take_zeros(size_t size, bool in_large_pages) noexcept {
  if (size < min_mapped) return std::calloc(1, size);
  if (size < large_page || !in_large_pages) {
    void* taken = mmap(nullptr, size, access, kind, -1, 0);
    return taken == MAP_FAILED ? nullptr : taken;
  }
  if (size > SIZE_MAX - 2 * large_page) return nullptr;
  const size_t wanted = rounded(size);
  void* taken = mmap(nullptr, wanted + large_page, access, kind, -1, 0);
  if (taken == MAP_FAILED) return nullptr;
  const auto begin = reinterpret_cast<uintptr_t>(taken);
  const uintptr_t first = rounded(begin);
  if (first > begin) munmap(taken, first - begin);
  const uintptr_t end = begin + wanted + large_page;
  if (end > first + wanted) munmap(reinterpret_cast<void*>(first + wanted), end - (first + wanted));
  void* memory = reinterpret_cast<void*>(first);
  (void)madvise(memory, wanted, MADV_HUGEPAGE);  // only a request; without large pages the memory works as well
  return memory;
}

void give_zeros(void* memory, size_t size, bool in_large_pages) noexcept {
  if (size < min_mapped) return std::free(memory);
  munmap(memory, size < large_page || !in_large_pages ? size : rounded(size));
}
#else
void* resize_memory(void* memory, size_t, size_t size, size_t) noexcept { return std::realloc(memory, size); }
void give_memory(void* memory, size_t) noexcept { std::free(memory); }
void* take_zeros(size_t size, bool) noexcept { return std::calloc(1, size); }
void give_zeros(void* memory, size_t, bool) noexcept { std::free(memory); }
#endif

}  // namespace heddle
