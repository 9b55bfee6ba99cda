// The block executor: scheduling, barriers, warp collectives.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <random>
#include <vector>

#include "emulator/block_state.h"
#include "emulator/executor.h"
#include "emulator/race.h"
#include "emulator/runtime.h"
#include "core/error.h"

namespace heddle {
namespace emulator {

Dim3 thread_index, block_index, block_size, grid_size;

Block* const the_block = new Block;

namespace {

enum class Completion { lazy, eager, random };
struct Options {
  Completion completion = Completion::lazy;
  bool random_order = false;
  std::string setting;  // the value of HEDDLE_EMULATOR that was read last
  std::mt19937_64 random;
};

Options* const the_options = new Options;  // never destroyed, like the_block
inline Options& options() { return *the_options; }
std::mutex& one_grid_at_a_time() {
  static std::mutex& m = *new std::mutex;
  return m;
}

// Reads HEDDLE_EMULATOR. Called at every launch, so that one test process can try all settings. The random sequence
// continues from launch to launch, and starts again when the value changes.
void read_options() {
  Options& o = options();
  const char* text = std::getenv("HEDDLE_EMULATOR");
  const std::string value = text ? text : "";
  if (value.empty() || value == "lazy" || value == "eager") {
    o.completion = value == "eager" ? Completion::eager : Completion::lazy;
    o.random_order = false;
  } else if (value.rfind("random:", 0) == 0) {
    if (value != o.setting) o.random.seed(std::strtoull(value.c_str() + 7, nullptr, 10));
    o.completion = Completion::random, o.random_order = true;
  } else {
    throw Error("INVALID_ARGUMENT", "HEDDLE_EMULATOR: expected lazy, eager or random:SEED, got " + value);
  }
  o.setting = value;
}

std::string text_of(const Dim3& d) {
  return "(" + std::to_string(d.x) + ", " + std::to_string(d.y) + ", " + std::to_string(d.z) + ")";
}

int index_of(const Thread& t) { return static_cast<int>(&t - block().thread.data()); }

// Makes the next runnable thread the current thread. Returns null if no thread is runnable, or if the block has failed.
Thread* next_thread() {
  Block& b = block();
  if (!b.failure.empty() || b.next == b.ready.size()) return nullptr;
  Options& o = options();
  if (o.random_order) {
    maybe_complete_async();
    std::swap(b.ready[b.next], b.ready[b.next + o.random() % (b.ready.size() - b.next)]);
  }
  b.current = &b.thread[b.ready[b.next++]];
  // Drops consumed elements from time to time.
  if (b.next > 4096) b.ready.erase(b.ready.begin(), b.ready.begin() + static_cast<std::ptrdiff_t>(b.next)), b.next = 0;
  thread_index = b.current->index;
  return b.current;
}

// Switches to the next runnable thread, or to the scheduler.
void yield() {
  Block& b = block();
  Thread* self = b.current;
  Thread* next = next_thread();
  if (next == self) return;
  heddle_fiber_switch(&self->fiber->stack_pointer, next ? next->fiber->stack_pointer : b.scheduler);
}

void make_ready(int i) {
  block().thread[i].state = State::ready;
  block().ready.push_back(i);
}

void wait_as(State state, const char* what, int line) {
  Thread& t = *block().current;
  t.state = state, t.waits_for = what, t.line = line;
  yield();
}

void thread_main() {
  Block& b = block();
  (*b.body)();
  if (!b.current->copies.empty()) fatal("a thread ends with a cp.async that it has not waited for");
  if (b.current->must_wait) fatal("a thread ends without PreviousKernel::wait");
  b.current->state = State::ended;
  ++b.ended;
  for (;;) yield();
}

// Describes the state of all threads, by ranges of threads in the same state: "threads 0-31 wait in __syncthreads (line
// 40)".
std::string stuck_threads() {
  Block& b = block();
  std::string text;
  const auto same = [](const Thread& x, const Thread& y) {
    return x.state == y.state && (x.state == State::ended || (x.line == y.line && x.waits_for == y.waits_for));
  };
  for (int i = 0; i < b.threads;) {
    int end = i + 1;
    while (end < b.threads && end / warp_size == i / warp_size && same(b.thread[end], b.thread[i])) ++end;
    const Thread& t = b.thread[i];
    text +=
        (text.empty() ? "" : "; ") + std::string("threads ") + std::to_string(i) + "-" + std::to_string(end - 1) +
        (t.state == State::ended ? " have ended"
                                 : " wait in " + std::string(t.waits_for) + " (line " + std::to_string(t.line) + ")");
    i = end;
    if (text.size() > 600) return text + "; ...";
  }
  return text;
}

void run_block(Dim3 position) {
  Block& b = block();
  block_index = position;
  b.slots.clear();
  b.shared_used = 0;
  b.at_barrier = b.ended = 0;
  b.next = 0;
  b.ready.clear();
  for (auto& m : b.collectives) m.clear();
  const size_t number = position.x + grid_size.x * (position.y + size_t{grid_size.y} * position.z);
  for (int i = 0; i < b.threads; ++i) {
    Thread& t = b.thread[i];
    const unsigned n = static_cast<unsigned>(i);
    t.index = Dim3(n % block_size.x, n / block_size.x % block_size.y, n / block_size.x / block_size.y);
    t.must_wait = b.waits;
    t.copies.clear();
    t.groups.clear();
    // block_of() in race.cc divides by 1024. The modulo keeps the number within 32 bits.
    t.epoch = {static_cast<int32_t>(number % 1000000 * 1024 + n), 0, 0, 0, 0};
    t.fiber->start(thread_main);
    make_ready(i);
  }
  if (b.dynamic_bytes) shared(&b, b.dynamic_bytes, 1024);
  begin_asynchronous((b.threads + warp_size - 1) / warp_size);
  while (b.failure.empty() && (b.next < b.ready.size() || complete_one_async())) {
    Thread* next = next_thread();
    if (!next) continue;
    heddle_fiber_switch(&b.scheduler, next->fiber->stack_pointer);
    b.current = nullptr;
  }
  if (b.failure.empty() && b.ended < b.threads) b.failure = "no thread can continue: " + stuck_threads();
  if (b.failure.empty()) b.failure = unfinished();
  if (b.failure.empty()) check_red_zones();
}

}  // namespace

void wait_for_grid() { std::lock_guard<std::mutex> lock(one_grid_at_a_time()); }

void run_grid(const char* kernel, Dim3 grid, Dim3 size, size_t dynamic_shared_bytes, const std::function<void()>& body,
    bool waits) {
  std::lock_guard<std::mutex> lock(one_grid_at_a_time());
  read_options();
  Block& b = block();
  if (size.size() < 1 || size.size() > 1024 || size.z > 64)
    throw internal_error(
        std::string(kernel) + ": expected a block of 1 to 1024 threads, with z of at most 64, got " + text_of(size));
  if (grid.size() < 1 || grid.x > 0x7fffffffu || grid.y > 65535 || grid.z > 65535)
    throw internal_error(
        std::string(kernel) + ": expected a grid of (1, 1, 1) to (2^31 - 1, 65535, 65535), got " + text_of(grid));
  b.kernel = kernel;
  b.body = &body;
  b.waits = waits;
  b.threads = static_cast<int>(size.size());
  b.dynamic_bytes = dynamic_shared_bytes;
  b.capacity = device_shared_bytes();
  b.failure.clear();
  while (static_cast<int>(b.thread.size()) < b.threads) {
    b.thread.emplace_back();
    b.thread.back().fiber = std::make_unique<Fiber>();
  }
  b.collectives.resize(static_cast<size_t>((b.threads + warp_size - 1) / warp_size));
  if (!b.memory) {
    b.memory = std::make_unique<char[]>(2 * largest_shared + 1024);
    b.shared_begin = b.memory.get() + (1024 - reinterpret_cast<uintptr_t>(b.memory.get()) % 1024);
  }
  block_size = size, grid_size = grid;
  begin_grid();
  std::vector<size_t> order(grid.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  if (options().random_order) std::shuffle(order.begin(), order.end(), options().random);
  for (size_t i : order) {
    run_block(Dim3(static_cast<unsigned>(i % grid.x), static_cast<unsigned>(i / grid.x % grid.y),
        static_cast<unsigned>(i / grid.x / grid.y)));
    if (!b.failure.empty())
      throw internal_error(std::string(kernel) + ", block " + text_of(block_index) + ": " + b.failure);
  }
}

void fatal(const std::string& message) {
  Block& b = block();
  if (b.failure.empty()) {
    b.failure = message;
    if (b.current) b.failure += " (thread " + std::to_string(index_of(*b.current)) + ")";
  }
  if (!b.current) throw internal_error(message);
  for (;;) yield();  // a failed block resumes no thread
}

void barrier(int line) {
  Block& b = block();
  if (b.at_barrier == 0) b.barrier_line = line;
  else if (b.barrier_line != line)
    fatal("__syncthreads at line " + std::to_string(line) + " while other threads wait in the one at line " +
          std::to_string(b.barrier_line));
  if (++b.at_barrier < b.threads) return wait_as(State::barrier, "__syncthreads", line);
  b.at_barrier = 0;
  synchronise_clocks();
  for (int i = 0; i < b.threads; ++i) {
    Thread& t = b.thread[i];
    ++t.epoch.barriers;
    if (t.state == State::barrier) make_ready(i);
  }
}

int lane_index() { return index_of(*block().current) % warp_size; }

void collective(uint32_t mask, const char* name, int line, void* operands, Compute compute) {
  Block& b = block();
  const int self = index_of(*b.current), warp = self / warp_size, lane = self % warp_size;
  if (!(mask >> lane & 1))
    fatal(
        std::string(name) + " at line " + std::to_string(line) + " with a mask that does not contain the calling lane");
  const int lanes = std::min(warp_size, b.threads - warp * warp_size);
  const uint32_t all_lanes = 0xffffffffu >> (warp_size - lanes);
  mask &= all_lanes;
  auto& collectives = b.collectives[static_cast<size_t>(warp)];
  size_t at = 0;
  while (at < collectives.size() && !(collectives[at].mask & mask)) ++at;
  if (at == collectives.size()) {
    collectives.emplace_back();
    PendingCollective& made = collectives.back();
    made.mask = mask, made.arrived = 0, made.name = name, made.line = line;
    std::memset(made.operands, 0, sizeof made.operands);
  }
  PendingCollective& m = collectives[at];
  if (m.mask != mask || m.line != line || (m.name != name && std::strcmp(m.name, name) != 0))
    fatal(std::string(name) + " at line " + std::to_string(line) + " while other lanes of the warp are in " + m.name +
          " at line " + std::to_string(m.line));
  m.arrived |= 1u << lane;
  m.operands[lane] = operands;
  if (m.arrived != mask) return wait_as(State::collective, name, line);
  if (compute) compute(m.operands, mask);
  collectives.erase(collectives.begin() + static_cast<std::ptrdiff_t>(at));
  // For the race detector, only a __syncwarp of all lanes orders memory, because it keeps one clock per thread and not
  // one per pair of lanes.
  const bool orders_memory = std::strcmp(name, "__syncwarp") == 0 && mask == all_lanes;
  for (int i = 0; i < warp_size; ++i) {
    if (!(mask >> i & 1)) continue;
    Thread& t = b.thread[warp * warp_size + i];
    if (orders_memory) ++t.epoch.warp_syncs;
    if (i != lane) make_ready(warp * warp_size + i);
  }
}

const Epoch* current_epoch() {
  if (!the_block) return nullptr;  // a static initializer of an instrumented file is running
  Thread* t = the_block->current;
  if (!t) return nullptr;
  t->epoch.time = warp_time();
  return &t->epoch;
}

void wait_for_previous() { block().current->must_wait = false; }

// ---- called by the asynchronous units

void check_waited() {
  const Thread* t = block().current;
  if (t && t->must_wait) fatal("an access of global memory before PreviousKernel::wait");
}
int running_thread() { return index_of(*block().current); }
int threads_of_block() { return block().threads; }
void block_until_woken(const char* what, int line) { wait_as(State::asynchronous, what, line); }
void wake(int thread) { make_ready(thread); }
bool is_random() { return options().random_order; }
size_t random_below(size_t choices) { return is_random() ? static_cast<size_t>(options().random() % choices) : 0; }
bool completes_immediately() {
  const Completion a = options().completion;
  return a == Completion::eager || (a == Completion::random && random_below(2));
}
void count_proxy_fence() { ++block().current->epoch.proxy_fences; }
uint32_t proxy_fences_of(int thread) { return block().thread[static_cast<size_t>(thread)].epoch.proxy_fences; }

}  // namespace emulator
}  // namespace heddle
