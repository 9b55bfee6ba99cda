// macOS has no large pages on Arm and cannot resize a mapping. It drops clean pages of files by itself.
#include "core/platform/pages.h"

namespace heddle {

void* resize_pages(void*, size_t, size_t) noexcept { return nullptr; }
void want_large_pages(void*, size_t) noexcept {}
void populate_pages(void*, size_t) noexcept {}
void release_file_pages(const void*, size_t) noexcept {}

}  // namespace heddle
