#include "core/platform/pages.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>

#include "core/round.h"

namespace heddle {

void* map_pages(size_t bytes, size_t alignment) noexcept {
  if (bytes > SIZE_MAX - alignment) return nullptr;
  const size_t taken = bytes + alignment;
  // MAP_NORESERVE: an arena is planned for the largest case, and most of its pages may never be touched.
  void* pages = mmap(nullptr, taken, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (pages == MAP_FAILED) return nullptr;
  if (alignment == 0) return pages;
  // Unmaps the pages before and after the aligned part.
  const auto begin = reinterpret_cast<uintptr_t>(pages);
  const uintptr_t first = round_up(begin, alignment);
  if (first > begin) munmap(pages, first - begin);
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const uintptr_t used_end = round_up(first + bytes, page), end = round_up(begin + taken, page);
  if (end > used_end) munmap(reinterpret_cast<void*>(used_end), end - used_end);
  return reinterpret_cast<void*>(first);
}

void unmap_pages(void* pages, size_t bytes) noexcept { munmap(pages, bytes); }

}  // namespace heddle
