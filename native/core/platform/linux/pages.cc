// Page functions of Linux that POSIX lacks.
#include "core/platform/pages.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>

#include "core/round.h"

namespace heddle {
namespace {

// MADV_HUGEPAGE and MADV_POPULATE_WRITE, which older headers lack. Older kernels refuse the advice.
constexpr int advise_huge_page = 14, advise_populate_write = 23;

size_t page_bytes() {
  static const size_t bytes = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return bytes;
}

// Gives advice about all pages that the range touches.
void advise(void* from, size_t bytes, int advice) {
  const uintptr_t begin = reinterpret_cast<uintptr_t>(from) / page_bytes() * page_bytes();
  madvise(reinterpret_cast<void*>(begin), reinterpret_cast<uintptr_t>(from) + bytes - begin, advice);
}

}  // namespace

void* resize_pages(void* pages, size_t old_bytes, size_t bytes) noexcept {
  void* moved = mremap(pages, old_bytes, bytes, MREMAP_MAYMOVE);
  return moved == MAP_FAILED ? nullptr : moved;
}

void want_large_pages(void* from, size_t bytes) noexcept { advise(from, bytes, advise_huge_page); }

void populate_pages(void* from, size_t bytes) noexcept { advise(from, bytes, advise_populate_write); }

void release_file_pages(const void* from, size_t bytes) noexcept {
  const size_t page = page_bytes();
  const size_t first = round_up(reinterpret_cast<uintptr_t>(from), page),
               end = (reinterpret_cast<uintptr_t>(from) + bytes) / page * page;
  if (first < end) madvise(reinterpret_cast<void*>(first), end - first, MADV_DONTNEED);
}

}  // namespace heddle
