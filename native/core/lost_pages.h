// A mapped file that another program truncates loses pages: touching one raises SIGBUS, which would end the process.
// Here it becomes zeros and a mark, and whoever used the bytes asks for the mark afterwards.
#pragma once
#include <cstddef>

namespace heddle {

// Watches a range of mapped memory. Ranges beyond the first 1024 at a time are not watched.
void watch_pages(const void* data, size_t bytes);
void unwatch_pages(const void* data);

// Whether the watched range that holds `data` has lost pages since it was mapped. Cheap where none ever has.
bool has_lost_pages(const void* data);

}  // namespace heddle
