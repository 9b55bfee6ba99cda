#include "core/platform/lost_pages.h"

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <mutex>

#include "core/round.h"

namespace heddle {
namespace {

// The signal handler reads the ranges, so all fields are lock-free atomics. `end` is written last and cleared first.
struct Range {
  std::atomic<uintptr_t> begin{0}, end{0};
  std::atomic<bool> lost{false};
};
constexpr int max_ranges = 1024;
Range ranges[max_ranges];
std::atomic<bool> any_lost{false};
std::mutex changing;
struct sigaction before;
uintptr_t page_bytes = 4096;

Range* range_of(uintptr_t address) {
  for (Range& r : ranges)
    if (address < r.end.load(std::memory_order_acquire) && address >= r.begin.load(std::memory_order_relaxed))
      return &r;
  return nullptr;
}

void on_bus_error(int signal, siginfo_t* info, void* context) {
  const uintptr_t address = reinterpret_cast<uintptr_t>(info->si_addr);
  // Systems report a lost page by one of these codes. Other codes are hardware failures of memory.
  const bool may_be_lost = info->si_code == BUS_ADRERR || info->si_code == BUS_ADRALN;
  Range* range = may_be_lost ? range_of(address) : nullptr;
  if (range) {
    // A truncation removes the end of the file, so zeros replace all pages from this one on.
    const uintptr_t page = address / page_bytes * page_bytes, end = round_up(range->end.load(), page_bytes);
    void* zeros =
        ::mmap(reinterpret_cast<void*>(page), end - page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    if (zeros != MAP_FAILED) {
      range->lost.store(true, std::memory_order_release);
      any_lost.store(true, std::memory_order_release);
      return;
    }
  }
  if (before.sa_flags & SA_SIGINFO) return before.sa_sigaction(signal, info, context);
  if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN) return before.sa_handler(signal);
  ::signal(signal, SIG_DFL);  // the access repeats and ends the process, as without this handler
}

void install() {
  page_bytes = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  struct sigaction action{};
  action.sa_sigaction = on_bus_error;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigemptyset(&action.sa_mask);
  ::sigaction(SIGBUS, &action, &before);
}

}  // namespace

void watch_pages(const void* data, size_t bytes) {
  static std::once_flag once;
  std::call_once(once, install);
  std::lock_guard<std::mutex> lock(changing);
  for (Range& r : ranges)
    if (r.end.load(std::memory_order_relaxed) == 0) {
      r.begin.store(reinterpret_cast<uintptr_t>(data), std::memory_order_relaxed);
      r.lost.store(false, std::memory_order_relaxed);
      r.end.store(reinterpret_cast<uintptr_t>(data) + bytes, std::memory_order_release);
      return;
    }
}

void unwatch_pages(const void* data) {
  std::lock_guard<std::mutex> lock(changing);
  for (Range& r : ranges)
    if (r.end.load(std::memory_order_relaxed) != 0 &&
        r.begin.load(std::memory_order_relaxed) == reinterpret_cast<uintptr_t>(data)) {
      r.end.store(0, std::memory_order_release);
      return;
    }
}

bool has_lost_pages(const void* data) {
  if (!any_lost.load(std::memory_order_acquire)) return false;
  const Range* range = range_of(reinterpret_cast<uintptr_t>(data));
  return range && range->lost.load(std::memory_order_acquire);
}

}  // namespace heddle
