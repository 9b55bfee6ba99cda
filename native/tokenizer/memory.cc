#include "tokenizer/memory.h"

#include <cstdlib>
#include <cstring>

#include "core/platform/pages.h"
#include "core/round.h"

namespace heddle {
namespace {

// Memory below this size comes from malloc.
constexpr size_t min_mapped = size_t{64} << 10;
// Tables below this size get no large pages, because these would be less than half full.
constexpr size_t min_large = large_page_bytes / 2;

size_t rounded(size_t size) { return round_up(size, large_page_bytes); }

}  // namespace

void* resize_memory(void* memory, size_t old_size, size_t size, size_t used) noexcept {
  const bool was_mapped = old_size >= min_mapped, maps = size >= min_mapped;
  if (!was_mapped && !maps) return std::realloc(memory, size);
  if (size > SIZE_MAX / 2) return nullptr;
  if (was_mapped && maps) {
    if (void* resized = resize_pages(memory, old_size, size)) return resized;
  }
  void* made = maps ? map_pages(size) : std::malloc(size);
  if (made == nullptr) return nullptr;
  if (used > 0) std::memcpy(made, memory, used);
  give_memory(memory, old_size);
  return made;
}

void give_memory(void* memory, size_t size) noexcept {
  if (size < min_mapped) std::free(memory);
  else unmap_pages(memory, size);
}

void* take_zeros(size_t size, bool in_large_pages) noexcept {
  if (size < min_mapped) return std::calloc(1, size);
  if (size < min_large || !in_large_pages) return map_pages(size);
  if (size > SIZE_MAX - 2 * large_page_bytes) return nullptr;
  void* memory = map_pages(rounded(size), large_page_bytes);
  if (memory != nullptr) want_large_pages(memory, rounded(size));
  return memory;
}

void give_zeros(void* memory, size_t size, bool in_large_pages) noexcept {
  if (size < min_mapped) return std::free(memory);
  unmap_pages(memory, size < min_large || !in_large_pages ? size : rounded(size));
}

}  // namespace heddle
