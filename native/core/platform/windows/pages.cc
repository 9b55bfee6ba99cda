// Large pages need a privilege that users do not have, so only small pages are used on Windows. Windows cannot resize a
// mapping. It drops clean pages of files by itself.
#include "core/platform/pages.h"

#include "core/platform/windows/api.h"

namespace heddle {

void* map_pages(size_t bytes, size_t) noexcept {
  return VirtualAlloc(nullptr, bytes, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
}

void unmap_pages(void* pages, size_t) noexcept { VirtualFree(pages, 0, MEM_RELEASE); }

void* resize_pages(void*, size_t, size_t) noexcept { return nullptr; }
void want_large_pages(void*, size_t) noexcept {}
void populate_pages(void*, size_t) noexcept {}
void release_file_pages(const void*, size_t) noexcept {}

}  // namespace heddle
