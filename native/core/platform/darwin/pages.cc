// macOS has no large pages on Arm, cannot resize a mapping, and drops clean pages of files by itself.
#include "core/platform/pages.h"

#include <cstring>

namespace heddle {

void* resize_pages(void* pages, size_t old_bytes, size_t bytes, size_t used) noexcept {
  void* moved = map_pages(bytes);
  if (!moved) return nullptr;
  std::memcpy(moved, pages, used);
  unmap_pages(pages, old_bytes);
  return moved;
}

void want_large_pages(void*, size_t) noexcept {}
void populate_pages(void*, size_t) noexcept {}
void release_file_pages(const void*, size_t) noexcept {}

}  // namespace heddle
