#include "emulator/race.h"

#include <array>
#include <memory>
#include <string>
#include <unordered_map>

#include "emulator/emulator.h"
#include "emulator/executor.h"

namespace heddle {
namespace emulator {
namespace {

// The access history of a word or a byte.
struct Cell {
  Epoch write, read;  // the last write, and the last read after it
  bool written_in_kernel = false, read_by_many = false, in_flight = false, unwritten = false;
  int32_t read_warp = -1;  // warp of all readers since the last write, -1 if several
};

// The access history of four bytes. After an access to only some of them, `parts` has one history per byte.
struct Word {
  Cell cell;
  std::unique_ptr<std::array<Cell, 4>> parts;
};

constexpr size_t page_bytes = 4096, word_bytes = 4;
struct Page {
  Word word[page_bytes / word_bytes];
  uint64_t grid = 0;  // the grid of the history. The first access by a later grid clears the page.
};

// Shadow memory: the access history of all addresses.
struct Shadow {
  std::unordered_map<uintptr_t, std::unique_ptr<Page>> pages;
  struct Recent {
    uintptr_t key = ~uintptr_t{0};
    Page* page = nullptr;
  } recent[256];  // indexed by the key's low bits
  uint64_t grid = 1;

  Word& at(uintptr_t address) {
    const uintptr_t key = address / page_bytes;
    Recent& r = recent[key % 256];
    if (r.key != key) r = {key, find(key)};
    return r.page->word[address % page_bytes / word_bytes];
  }
  Page* find(uintptr_t key) {
    auto& page = pages[key];
    if (!page) page = std::make_unique<Page>();
    if (page->grid != grid)
      for (Word& w : page->word) w = Word{};
    page->grid = grid;
    return page.get();
  }
  void clear() {
    ++grid;
    for (Recent& r : recent) r = {};
    if (pages.size() > 4096) pages.clear();  // limits the memory: most pages belong to freed allocations
  }

  // Calls use(cell, address) for each cell of these bytes.
  template <class F> void each(uintptr_t begin, size_t bytes, F use) {
    const uintptr_t end = begin + bytes;
    for (uintptr_t address = begin; address < end;) {
      const uintptr_t first = address / word_bytes * word_bytes,
                      next = first + word_bytes < end ? first + word_bytes : end;
      Word& w = at(address);
      if (!w.parts && next - address == word_bytes) {
        use(w.cell, address);
      } else {
        if (!w.parts)
          w.parts = std::make_unique<std::array<Cell, 4>>(std::array<Cell, 4>{w.cell, w.cell, w.cell, w.cell});
        for (uintptr_t byte = address; byte < next; ++byte) use((*w.parts)[byte - first], byte);
      }
      address = next;
    }
  }
  // Clears the history of these bytes. With `unwritten`, reading them before a write is an error.
  void reset(uintptr_t begin, size_t bytes, bool unwritten) {
    for (uintptr_t address = begin; address < begin + bytes; address += word_bytes) {
      Word& w = at(address);
      w.cell = Cell{};
      w.cell.unwritten = unwritten;
      w.parts.reset();
    }
  }
};

Shadow& shadow() {
  static Shadow& s = *new Shadow;
  return s;
}

int32_t block_of(int32_t thread) { return thread / 1024; }
int32_t warp_of(int32_t thread) { return thread / 32; }

// Whether program order, a __syncthreads or a __syncwarp orders the two accesses.
bool ordered(const Epoch& before, const Epoch& now) {
  if (before.thread == now.thread) return true;
  if (block_of(before.thread) != block_of(now.thread)) return false;
  return before.barriers < now.barriers ||
         (warp_of(before.thread) == warp_of(now.thread) && before.warp_syncs < now.warp_syncs);
}

std::string who(const Epoch& e) {
  return "thread " + std::to_string(e.thread % 1024) + " of block " + std::to_string(block_of(e.thread));
}

[[noreturn]] void report(const char* what, const Epoch& other, bool shared) {
  fatal(std::string("race in ") + (shared ? "shared" : "global") + " memory: " + what + " by " + who(other));
}

void on_read(Cell& c, uintptr_t address, const Epoch& now, bool shared) {
  if (c.in_flight) fatal("a read of shared memory while a cp.async to it is in flight");
  if (shared && is_written_asynchronously(shared_address(reinterpret_cast<const void*>(address))))
    fatal("a read of shared memory that a copy is still writing");
  if (shared && c.unwritten) fatal("a read of unwritten shared memory");
  if (c.written_in_kernel && !ordered(c.write, now)) report("a read after an unordered write", c.write, shared);
  const bool first = c.read.thread < 0 || (c.written_in_kernel && c.read.barriers < c.write.barriers);
  if (first || ordered(c.read, now)) {
    // Forgets the earlier reads if all of them are ordered before this one. That holds if one thread or this warp made
    // them, or if a __syncthreads separates them from this read.
    if (first || !c.read_by_many || c.read.barriers < now.barriers || c.read_warp == warp_of(now.thread)) {
      c.read_by_many = false;
      c.read_warp = warp_of(now.thread);
    }
    c.read = now;
    return;
  }
  c.read_by_many = true;
  if (c.read_warp != warp_of(now.thread)) c.read_warp = -1;
  if (now.barriers >= c.read.barriers) c.read = now;
}

void on_write(Cell& c, uintptr_t address, const Epoch& now, bool shared) {
  if (c.in_flight) fatal("a write to shared memory while a cp.async to it is in flight");
  if (shared && is_read_asynchronously(shared_address(reinterpret_cast<const void*>(address))))
    fatal("a write to shared memory that a wgmma reads");
  if (c.written_in_kernel && !ordered(c.write, now)) report("a write after an unordered write", c.write, shared);
  if (c.read.thread >= 0) {
    bool safe = ordered(c.read, now);
    if (safe && c.read_by_many && c.read.barriers == now.barriers)
      safe = block_of(c.read.thread) == block_of(now.thread) && c.read_warp == warp_of(now.thread) &&
             c.read.warp_syncs < now.warp_syncs;
    if (!safe) report("a write after an unordered read", c.read, shared);
  }
  c.write = now;
  c.written_in_kernel = true;
  c.unwritten = false;
  c.read = Epoch{};
  c.read_by_many = false;
}

#ifdef HEDDLE_EMULATE_CUDA_RACES
// Checks and records an access of the running thread. `alignment` is the alignment that the access needs on a device.
void access(const void* data, size_t bytes, bool write, size_t alignment = 1) {
  const Epoch* now = current_epoch();
  if (!now) return;
  const uintptr_t address = reinterpret_cast<uintptr_t>(data);
  const bool shared = in_shared(address);
  if (!shared && !in_device(address)) return;  // a local variable or an argument
  if (!shared) check_waited();
  if (address % alignment) fatal("a misaligned access of " + std::to_string(bytes) + " bytes");
  shadow().each(address, bytes, [&](Cell& c, uintptr_t at) {
    if (write) on_write(c, at, *now, shared);
    else on_read(c, at, *now, shared);
  });
}
#endif

}  // namespace

#ifdef HEDDLE_EMULATE_CUDA_RACES
bool detecting_races() { return true; }
void begin_grid() { shadow().clear(); }
void forget(const void* data, size_t bytes) { shadow().reset(reinterpret_cast<uintptr_t>(data), bytes, true); }
void copy_started(const void* to, size_t bytes) {
  access(to, bytes, true);
  shadow().each(reinterpret_cast<uintptr_t>(to), bytes, [](Cell& c, uintptr_t) { c.in_flight = true; });
}
void copy_landed(const void* to, size_t bytes) {
  const Epoch& now = *current_epoch();
  shadow().each(
      reinterpret_cast<uintptr_t>(to), bytes, [&](Cell& c, uintptr_t) { c.in_flight = false, c.write = now; });
}
void written_by_copy(const void* to, size_t bytes) { shadow().reset(reinterpret_cast<uintptr_t>(to), bytes, false); }
void check_async_read(const void* data, size_t bytes) {
  const Epoch& now = *current_epoch();
  shadow().each(reinterpret_cast<uintptr_t>(data), bytes, [&](const Cell& c, uintptr_t) {
    if (c.unwritten) fatal("an asynchronous read of unwritten shared memory");
    if (!c.written_in_kernel) return;
    const bool known =  // a barrier of asynchronous.h orders the write before this read
        block_of(c.write.thread) == block_of(now.thread) && warp_knows(c.write.thread % 1024, c.write.time);
    if (!known && !ordered(c.write, now)) report("an asynchronous read after an unordered write", c.write, true);
    if (proxy_fences_of(c.write.thread % 1024) == c.write.proxy_fences)
      fatal("an asynchronous read of a thread's write without a fence.proxy.async after it");
  });
}
#else
bool detecting_races() { return false; }
void begin_grid() {}
void forget(const void*, size_t) {}
void copy_started(const void*, size_t) {}
void copy_landed(const void*, size_t) {}
void written_by_copy(const void*, size_t) {}
void check_async_read(const void*, size_t) {}
#endif

}  // namespace emulator
}  // namespace heddle

#ifdef HEDDLE_EMULATE_CUDA_RACES
// gcc's -fsanitize=thread inserts calls of these functions.
extern "C" {
#define HEDDLE_ACCESS(bytes) \
  void __tsan_read##bytes(void* p) { heddle::emulator::access(p, bytes, false, bytes); } \
  void __tsan_write##bytes(void* p) { heddle::emulator::access(p, bytes, true, bytes); } \
  void __tsan_unaligned_read##bytes(void* p) { heddle::emulator::access(p, bytes, false); } \
  void __tsan_unaligned_write##bytes(void* p) { heddle::emulator::access(p, bytes, true); } \
  void __tsan_volatile_read##bytes(void* p) { heddle::emulator::access(p, bytes, false); } \
  void __tsan_volatile_write##bytes(void* p) { heddle::emulator::access(p, bytes, true); }
HEDDLE_ACCESS(1)
HEDDLE_ACCESS(2)
HEDDLE_ACCESS(4)
HEDDLE_ACCESS(8)
HEDDLE_ACCESS(16)
#undef HEDDLE_ACCESS
void __tsan_read_range(void* p, unsigned long n) { heddle::emulator::access(p, n, false); }
void __tsan_write_range(void* p, unsigned long n) { heddle::emulator::access(p, n, true); }
void __tsan_vptr_update(void**, void*) {}
void __tsan_vptr_read(void**) {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_init() {}
void __tsan_acquire(void*) {}
void __tsan_release(void*) {}
// Called for the guards of local statics. Kernels have no other atomic loads.
unsigned char __tsan_atomic8_load(const volatile unsigned char* p, int) { return __atomic_load_n(p, __ATOMIC_SEQ_CST); }
void __tsan_atomic8_store(volatile unsigned char* p, unsigned char v, int) { __atomic_store_n(p, v, __ATOMIC_SEQ_CST); }
unsigned int __tsan_atomic32_load(const volatile unsigned int* p, int) { return __atomic_load_n(p, __ATOMIC_SEQ_CST); }
unsigned long __tsan_atomic64_load(const volatile unsigned long* p, int) {
  return __atomic_load_n(p, __ATOMIC_SEQ_CST);
}
int __tsan_atomic64_compare_exchange_strong(
    volatile unsigned long* p, unsigned long* expected, unsigned long v, int, int) {
  return __atomic_compare_exchange_n(p, expected, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}
unsigned int __tsan_atomic32_fetch_add(volatile unsigned int* p, unsigned int v, int) {
  return __atomic_fetch_add(p, v, __ATOMIC_SEQ_CST);
}
unsigned int __tsan_atomic32_fetch_sub(volatile unsigned int* p, unsigned int v, int) {
  return __atomic_fetch_sub(p, v, __ATOMIC_SEQ_CST);
}
}
#endif
