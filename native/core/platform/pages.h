// Memory pages of the operating system.
#pragma once
#include <cstddef>

namespace heddle {

constexpr size_t large_page_bytes = size_t{2} << 20;

// Maps zeroed pages. Returns null if memory is short. Linux and macOS give a page its memory when it is first touched.
// `alignment` is 0 or a power of two. Windows ignores it, so callers must not rely on it.
void* map_pages(size_t bytes, size_t alignment = 0) noexcept;
// `bytes`: the size that was given to map_pages or resize_pages.
void unmap_pages(void* pages, size_t bytes) noexcept;
// Grows or shrinks a mapping without a copy. The mapping may move. If memory is short, or the system cannot resize
// mappings, returns null and keeps the mapping as it is.
void* resize_pages(void* pages, size_t old_bytes, size_t bytes) noexcept;

// Requests large pages for a part of a mapping. The memory works as well without them.
void want_large_pages(void* from, size_t bytes) noexcept;
// Asks the system to give these pages their memory at once, because they are about to be written. Page faults would
// cost more.
void populate_pages(void* from, size_t bytes) noexcept;
// Returns the whole pages of this part of a mapped file to the system, which reads them again when they are touched.
void release_file_pages(const void* from, size_t bytes) noexcept;

}  // namespace heddle
