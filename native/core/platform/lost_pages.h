// A mapped file loses pages if another program truncates it. Touching a lost page raises SIGBUS, which would end the
// process. The SIGBUS handler maps zeros instead and sets a flag. Code that read the bytes checks the flag with
// has_lost_pages().
#pragma once
#include <cstddef>

namespace heddle {

// Watches a range of mapped memory. At most 1024 ranges are watched at a time; further ones are ignored.
void watch_pages(const void* data, size_t bytes);
void unwatch_pages(const void* data);

// Whether the watched range that holds `data` has lost pages since it was mapped. Costs one atomic load as long as no
// range has ever lost a page.
bool has_lost_pages(const void* data);

}  // namespace heddle
