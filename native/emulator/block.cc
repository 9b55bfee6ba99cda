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
#include "core/round.h"

namespace heddle {
namespace emulator {

Dim3 thread_index, block_index, block_size, grid_size;

Cluster* const the_cluster = new Cluster;

namespace {

enum class Completion { lazy, eager, random };
struct Options {
  Completion completion = Completion::lazy;
  bool random_order = false;
  std::string setting;  // the value of HEDDLE_EMULATOR that was read last
  std::mt19937_64 random;
};

Options* const the_options = new Options;  // never destroyed, like the_cluster
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

// Makes a block the current one, whose threads, memory and asynchronous units other functions access.
void enter(int rank) {
  Cluster& c = cluster();
  c.block = c.blocks[static_cast<size_t>(rank)].get();
  block_index = c.block->position;
}

// Makes the next runnable thread the current thread. Returns null if no thread is runnable, or if a block has failed.
Thread* next_thread() {
  Cluster& c = cluster();
  if (!c.failure.empty() || c.next == c.ready.size()) return nullptr;
  Options& o = options();
  if (o.random_order) {
    for (int rank = 0; rank < c.size; ++rank) {
      enter(rank);
      maybe_complete_async();
    }
    std::swap(c.ready[c.next], c.ready[c.next + o.random() % (c.ready.size() - c.next)]);
  }
  const int number = c.ready[c.next++];
  enter(number / 1024);
  c.current = &c.block->thread[static_cast<size_t>(number % 1024)];
  // Drops consumed elements from time to time.
  if (c.next > 4096) c.ready.erase(c.ready.begin(), c.ready.begin() + static_cast<std::ptrdiff_t>(c.next)), c.next = 0;
  thread_index = c.current->index;
  return c.current;
}

// Switches to the next runnable thread, or to the scheduler.
void yield() {
  Cluster& c = cluster();
  Thread* self = c.current;
  Thread* next = next_thread();
  if (next == self) return;
  heddle_fiber_switch(&self->fiber->stack_pointer, next ? next->fiber->stack_pointer : c.scheduler);
}

void make_ready(int i) {
  block().thread[static_cast<size_t>(i)].state = State::ready;
  cluster().ready.push_back(block().rank * 1024 + i);
}

void wait_as(State state, const char* what, int line) {
  Thread& t = *cluster().current;
  t.state = state, t.waits_for = what, t.line = line;
  yield();
}

// Ends the barrier of the cluster if all threads of its blocks have arrived or ended.
void end_cluster_barrier() {
  Cluster& c = cluster();
  int ended = 0;
  for (int rank = 0; rank < c.size; ++rank) ended += c.blocks[static_cast<size_t>(rank)]->ended;
  if (c.at_barrier == 0 || c.at_barrier + ended < c.size * c.threads) return;
  c.at_barrier = 0;
  synchronise_cluster();
  for (int rank = 0; rank < c.size; ++rank) {
    const InBlock in(rank);
    for (int i = 0; i < c.threads; ++i) {
      Thread& t = block().thread[static_cast<size_t>(i)];
      ++t.epoch.barriers;
      if (t.state == State::cluster) make_ready(t.number);
    }
  }
}

void thread_main() {
  Cluster& c = cluster();
  (*c.body)();
  if (!c.current->copies.empty()) fatal("a thread ends with a cp.async that it has not waited for");
  if (c.current->must_wait) fatal("a thread ends without PreviousKernel::wait");
  c.current->state = State::ended;
  ++block().ended;
  thread_ended();
  end_cluster_barrier();
  for (;;) yield();
}

// Describes the state of the block's threads, by ranges of threads in the same state: "threads 0-31 wait in
// __syncthreads (line 40)".
std::string stuck_threads() {
  Block& b = block();
  const int threads = cluster().threads;
  std::string text;
  const auto same = [](const Thread& x, const Thread& y) {
    return x.state == y.state && (x.state == State::ended || (x.line == y.line && x.waits_for == y.waits_for));
  };
  for (int i = 0; i < threads;) {
    int end = i + 1;
    while (end < threads && end / warp_size == i / warp_size && same(b.thread[end], b.thread[i])) ++end;
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

// Starts the threads of the current block.
void begin_block(Dim3 position) {
  Cluster& c = cluster();
  Block& b = block();
  b.position = position;
  b.slots.clear();
  b.shared_used = 0;
  b.at_barrier = b.ended = 0;
  for (auto& m : b.collectives) m.clear();
  const size_t number = position.x + grid_size.x * (position.y + size_t{grid_size.y} * position.z);
  for (int i = 0; i < c.threads; ++i) {
    Thread& t = b.thread[static_cast<size_t>(i)];
    const unsigned n = static_cast<unsigned>(i);
    t.index = Dim3(n % block_size.x, n / block_size.x % block_size.y, n / block_size.x / block_size.y);
    t.number = i;
    t.must_wait = c.waits;
    t.copies.clear();
    t.groups.clear();
    // block_of() in race.cc divides by 1024. The modulo keeps the number within 32 bits.
    t.epoch = {static_cast<int32_t>(number % 1000000 * 1024 + n), 0, 0, 0, 0};
    t.fiber->start(thread_main);
    make_ready(i);
  }
  if (c.dynamic_bytes) shared(&c, c.dynamic_bytes, 1024);
  begin_asynchronous(ceil_div(c.threads, warp_size));
}

// Completes an asynchronous operation of one of the blocks, because no thread can run.
bool complete_any() {
  const int size = cluster().size, first = static_cast<int>(random_below(static_cast<size_t>(size)));
  for (int n = 0; n < size; ++n) {
    enter((first + n) % size);
    if (complete_one_async()) return true;
  }
  return false;
}

void run_cluster(size_t number) {
  Cluster& c = cluster();
  c.next = 0;
  c.at_barrier = 0;
  c.ready.clear();
  for (int rank = 0; rank < c.size; ++rank) {
    const size_t n = number * static_cast<size_t>(c.size) + static_cast<size_t>(rank);
    enter(rank);
    begin_block(Dim3(static_cast<unsigned>(n % grid_size.x), static_cast<unsigned>(n / grid_size.x % grid_size.y),
        static_cast<unsigned>(n / grid_size.x / grid_size.y)));
  }
  while (c.failure.empty() && (c.next < c.ready.size() || complete_any())) {
    Thread* next = next_thread();
    if (!next) continue;
    heddle_fiber_switch(&c.scheduler, next->fiber->stack_pointer);
    c.current = nullptr;
  }
  for (int rank = 0; rank < c.size && c.failure.empty(); ++rank) {
    enter(rank);
    if (block().ended < c.threads) c.failure = "no thread can continue: " + stuck_threads();
    if (c.failure.empty()) c.failure = unfinished();
    if (c.failure.empty()) check_red_zones();
  }
}

// Prepares the memory and the threads of `size` blocks.
void prepare(int size) {
  Cluster& c = cluster();
  c.size = size;
  while (static_cast<int>(c.blocks.size()) < size) {
    c.blocks.push_back(std::make_unique<Block>());
    Block& b = *c.blocks.back();
    b.rank = static_cast<int>(c.blocks.size()) - 1;
    b.memory = std::make_unique<char[]>(2 * largest_shared + 1024);
    b.shared_begin = b.memory.get() + (1024 - reinterpret_cast<uintptr_t>(b.memory.get()) % 1024);
  }
  for (int rank = 0; rank < size; ++rank) {
    Block& b = *c.blocks[static_cast<size_t>(rank)];
    while (static_cast<int>(b.thread.size()) < c.threads) {
      b.thread.emplace_back();
      b.thread.back().fiber = std::make_unique<Fiber>();
    }
    b.collectives.resize(static_cast<size_t>(ceil_div(c.threads, warp_size)));
  }
}

}  // namespace

InBlock::InBlock(int rank) : before_(block().rank) { enter(rank); }
InBlock::~InBlock() { enter(before_); }

void wait_for_grid() { std::lock_guard<std::mutex> lock(one_grid_at_a_time()); }

void run_grid(const char* kernel, Dim3 grid, Dim3 size, size_t dynamic_shared_bytes, const std::function<void()>& body,
    bool waits, unsigned cluster_size) {
  std::lock_guard<std::mutex> lock(one_grid_at_a_time());
  read_options();
  Cluster& c = cluster();
  if (size.size() < 1 || size.size() > 1024 || size.z > 64)
    throw internal_error(
        std::string(kernel) + ": expected a block of 1 to 1024 threads, with z of at most 64, got " + text_of(size));
  if (grid.size() < 1 || grid.x > 0x7fffffffu || grid.y > 65535 || grid.z > 65535)
    throw internal_error(
        std::string(kernel) + ": expected a grid of (1, 1, 1) to (2^31 - 1, 65535, 65535), got " + text_of(grid));
  // More than 8 blocks are possible on some devices only.
  if (cluster_size < 1 || cluster_size > 8 || grid.x % cluster_size)
    throw internal_error(std::string(kernel) + ": expected clusters of 1 to 8 blocks that divide the grid " +
                         text_of(grid) + ", got " + std::to_string(cluster_size));
  c.kernel = kernel;
  c.body = &body;
  c.waits = waits;
  c.threads = static_cast<int>(size.size());
  c.dynamic_bytes = dynamic_shared_bytes;
  c.capacity = device_shared_bytes();
  c.failure.clear();
  block_size = size, grid_size = grid;
  prepare(static_cast<int>(cluster_size));
  begin_grid();
  std::vector<size_t> order(grid.size() / cluster_size);
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  if (options().random_order) std::shuffle(order.begin(), order.end(), options().random);
  for (size_t i : order) {
    run_cluster(i);
    if (!c.failure.empty())
      throw internal_error(std::string(kernel) + ", block " + text_of(block_index) + ": " + c.failure);
  }
}

void fatal(const std::string& message) {
  Cluster& c = cluster();
  if (c.failure.empty()) {
    c.failure = message;
    if (c.current) c.failure += " (thread " + std::to_string(c.current->number) + ")";
  }
  if (!c.current) throw internal_error(message);
  for (;;) yield();  // a failed block resumes no thread
}

void barrier(int line) {
  Block& b = block();
  const int threads = cluster().threads;
  if (b.at_barrier == 0) b.barrier_line = line;
  else if (b.barrier_line != line)
    fatal("__syncthreads at line " + std::to_string(line) + " while other threads wait in the one at line " +
          std::to_string(b.barrier_line));
  if (++b.at_barrier < threads) return wait_as(State::barrier, "__syncthreads", line);
  b.at_barrier = 0;
  synchronise_clocks();
  for (int i = 0; i < threads; ++i) {
    Thread& t = b.thread[static_cast<size_t>(i)];
    ++t.epoch.barriers;
    if (t.state == State::barrier) make_ready(i);
  }
}

void sync_cluster(int line) {
  Thread& t = *cluster().current;
  t.state = State::cluster, t.waits_for = "barrier.cluster.wait", t.line = line;
  ++cluster().at_barrier;
  end_cluster_barrier();
  yield();
}

int lane_index() { return running_thread() % warp_size; }

void collective(uint32_t mask, const char* name, int line, void* operands, Compute compute) {
  Block& b = block();
  const int self = running_thread(), warp = self / warp_size, lane = self % warp_size;
  if (!(mask >> lane & 1))
    fatal(
        std::string(name) + " at line " + std::to_string(line) + " with a mask that does not contain the calling lane");
  const int lanes = std::min(warp_size, cluster().threads - warp * warp_size);
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
    Thread& t = b.thread[static_cast<size_t>(warp * warp_size + i)];
    if (orders_memory) ++t.epoch.warp_syncs;
    if (i != lane) make_ready(warp * warp_size + i);
  }
}

const Epoch* current_epoch() {
  if (!the_cluster) return nullptr;  // a static initializer of an instrumented file is running
  Thread* t = the_cluster->current;
  if (!t) return nullptr;
  t->epoch.time = warp_time();
  return &t->epoch;
}

void wait_for_previous() { cluster().current->must_wait = false; }

// ---- called by the asynchronous units

void check_waited() {
  const Thread* t = cluster().current;
  if (t && t->must_wait) fatal("an access of global memory before PreviousKernel::wait");
}
const char* running_kernel() { return cluster().kernel; }
int running_thread() { return cluster().current->number; }
int running_rank() { return block().rank; }
int blocks_of_cluster() { return cluster().size; }
bool has_ended() { return block().ended == cluster().threads; }
int threads_of_block() { return cluster().threads; }
void block_until_woken(const char* what, int line) { wait_as(State::asynchronous, what, line); }
void wake(int thread) { make_ready(thread); }
bool is_random() { return options().random_order; }
size_t random_below(size_t choices) { return is_random() ? static_cast<size_t>(options().random() % choices) : 0; }
bool completes_immediately() {
  const Completion a = options().completion;
  return a == Completion::eager || (a == Completion::random && random_below(2));
}
void count_proxy_fence() { ++cluster().current->epoch.proxy_fences; }
uint32_t proxy_fences_of(int thread) { return block().thread[static_cast<size_t>(thread)].epoch.proxy_fences; }

}  // namespace emulator
}  // namespace heddle
