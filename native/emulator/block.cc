// The block executor: scheduling, barriers, warp collectives, shared memory, asynchronous copies.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <random>
#include <vector>

#include "emulator/emulator.h"
#include "emulator/executor.h"
#include "emulator/fiber.h"
#include "emulator/race.h"
#include "emulator/runtime.h"
#include "runtime/error.h"

namespace heddle {
namespace emulator {

Dim3 thread_index, block_index, block_size, grid_size;

namespace {

constexpr size_t largest_shared = 227 << 10, red_zone = 64;
constexpr int warp_size = 32;

struct Copy {
  void* to;
  const void* from;
  int bytes, source_bytes;
  bool done;
};

enum class State { ready, barrier, collective, asynchronous, ended };

struct Thread {
  std::unique_ptr<Fiber> fiber;
  Dim3 index;
  State state;
  int line;                           // of the call that it waits in
  const char* waits_for;
  std::vector<Copy> copies;           // of cp.async, oldest first
  std::vector<size_t> groups;         // how many of them each committed group ends after
  Epoch epoch;
};

// A warp collective that some lanes have reached.
struct Meeting {
  uint32_t mask, arrived;
  const char* name;
  int line;
  void* operands[warp_size];
};

struct Slot {
  const void* key;
  char* data;
  size_t bytes;
};

struct Block {
  const char* kernel = "";
  const std::function<void()>* body = nullptr;
  int threads = 0;
  std::vector<Thread> thread;                // kept from block to block with their stacks
  std::vector<std::vector<Meeting>> meetings;  // per warp
  std::vector<int> ready;
  size_t next = 0;                           // of `ready`, in turn
  int at_barrier = 0, barrier_line = 0, ended = 0;
  Thread* current = nullptr;
  void* scheduler = nullptr;                 // its stack pointer while a thread runs
  std::string failure;
  std::vector<Slot> slots;
  std::unique_ptr<char[]> memory;
  char* shared_begin = nullptr;
  size_t shared_used = 0, dynamic_bytes = 0, capacity = 0;
};

enum class Asynchrony { lazy, eager, random };
struct Options {
  Asynchrony asynchrony = Asynchrony::lazy;
  bool random_order = false;
  std::mt19937_64 random;
};

// Never destroyed: a process may end while a lane's thread runs.
Block* const the_block = new Block;
Options* const the_options = new Options;
inline Block& block() { return *the_block; }
inline Options& options() { return *the_options; }
std::mutex& one_grid_at_a_time() {
  static std::mutex& m = *new std::mutex;
  return m;
}

// Read at every launch, so that one test process can go through all of them.
void read_options() {
  Options& o = options();
  const char* text = std::getenv("HEDDLE_EMULATOR");
  const std::string value = text ? text : "";
  if (value.empty() || value == "lazy" || value == "eager") {
    o.asynchrony = value == "eager" ? Asynchrony::eager : Asynchrony::lazy;
    o.random_order = false;
  } else if (value.rfind("random:", 0) == 0) {
    if (!o.random_order) o.random.seed(std::strtoull(value.c_str() + 7, nullptr, 10));
    o.asynchrony = Asynchrony::random, o.random_order = true;
  } else {
    throw Error("INVALID_ARGUMENT", "HEDDLE_EMULATOR: expected lazy, eager or random:SEED, got " + value);
  }
}

int index_of(const Thread& t) { return static_cast<int>(&t - block().thread.data()); }

// Makes the next thread that can go on the current one; null where none can, or where the block has failed.
Thread* next_thread() {
  Block& b = block();
  if (!b.failure.empty() || b.next == b.ready.size()) return nullptr;
  Options& o = options();
  if (o.random_order) {
    maybe_land();
    std::swap(b.ready[b.next], b.ready[b.next + o.random() % (b.ready.size() - b.next)]);
  }
  b.current = &b.thread[b.ready[b.next++]];
  if (b.next > 4096) b.ready.erase(b.ready.begin(), b.ready.begin() + static_cast<std::ptrdiff_t>(b.next)), b.next = 0;
  thread_index = b.current->index;
  return b.current;
}

// To the next thread, or to the scheduler where there is none.
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

void land(Copy& c) {
  if (c.done) return;
  std::memcpy(c.to, c.from, static_cast<size_t>(c.source_bytes));
  std::memset(static_cast<char*>(c.to) + c.source_bytes, 0, static_cast<size_t>(c.bytes - c.source_bytes));
  c.done = true;
}

void thread_main() {
  Block& b = block();
  (*b.body)();
  if (!b.current->copies.empty()) fatal("a thread ends with a cp.async that it has not waited for");
  b.current->state = State::ended;
  ++b.ended;
  for (;;) yield();
}

// "threads 0-31 wait in __syncthreads (line 40)" for every run of threads that do the same.
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
    text += (text.empty() ? "" : "; ") + std::string("threads ") + std::to_string(i) + "-" + std::to_string(end - 1) +
            (t.state == State::ended ? " have ended" : " wait in " + std::string(t.waits_for) + " (line " + std::to_string(t.line) + ")");
    i = end;
    if (text.size() > 600) return text + "; ...";
  }
  return text;
}

void check_red_zones() {
  Block& b = block();
  for (const Slot& s : b.slots)
    for (size_t i = 0; i < red_zone; ++i)
      if (static_cast<unsigned char>(s.data[s.bytes + i]) != 0xff) {
        b.failure = "a write past " + std::to_string(s.bytes) + " bytes of shared memory";
        return;
      }
}

void run_block(Dim3 position) {
  Block& b = block();
  block_index = position;
  b.slots.clear();
  b.shared_used = 0;
  b.at_barrier = b.ended = 0;
  b.next = 0;
  b.ready.clear();
  for (auto& m : b.meetings) m.clear();
  const size_t number = position.x + grid_size.x * (position.y + size_t{grid_size.y} * position.z);
  for (int i = 0; i < b.threads; ++i) {
    Thread& t = b.thread[i];
    const unsigned n = static_cast<unsigned>(i);
    t.index = Dim3(n % block_size.x, n / block_size.x % block_size.y, n / block_size.x / block_size.y);
    t.copies.clear();
    t.groups.clear();
    t.epoch = {static_cast<int32_t>(number % 1000000 * 1024 + n), 0, 0, 0, 0};
    t.fiber->start(thread_main);
    make_ready(i);
  }
  if (b.dynamic_bytes) shared(&b, b.dynamic_bytes, 1024);
  begin_asynchronous((b.threads + warp_size - 1) / warp_size);
  while (b.failure.empty() && (b.next < b.ready.size() || land_something())) {
    Thread* next = next_thread();
    if (!next) continue;
    heddle_fiber_switch(&b.scheduler, next->fiber->stack_pointer);
    b.current = nullptr;
  }
  if (b.failure.empty() && b.ended < b.threads) b.failure = "no thread can go on: " + stuck_threads();
  if (b.failure.empty()) b.failure = unfinished();
  if (b.failure.empty()) check_red_zones();
}

}  // namespace

void run_grid(const char* kernel, Dim3 grid, Dim3 size, size_t dynamic_shared_bytes, const std::function<void()>& body) {
  std::lock_guard<std::mutex> lock(one_grid_at_a_time());
  read_options();
  Block& b = block();
  if (size.size() < 1 || size.size() > 1024 || size.z > 64)
    throw internal_error(std::string(kernel) + ": expected 1 to 1024 threads a block, got " + std::to_string(size.size()));
  if (grid.size() < 1 || grid.x > 0x7fffffffu || grid.y > 65535 || grid.z > 65535)
    throw internal_error(std::string(kernel) + ": expected a grid of at most (2^31 - 1, 65535, 65535), got (" + std::to_string(grid.x) +
                         ", " + std::to_string(grid.y) + ", " + std::to_string(grid.z) + ")");
  b.kernel = kernel;
  b.body = &body;
  b.threads = static_cast<int>(size.size());
  b.dynamic_bytes = dynamic_shared_bytes;
  b.capacity = device_shared_bytes();
  b.failure.clear();
  while (static_cast<int>(b.thread.size()) < b.threads) {
    b.thread.emplace_back();
    b.thread.back().fiber = std::make_unique<Fiber>();
  }
  b.meetings.resize(static_cast<size_t>((b.threads + warp_size - 1) / warp_size));
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
    run_block(Dim3(static_cast<unsigned>(i % grid.x), static_cast<unsigned>(i / grid.x % grid.y), static_cast<unsigned>(i / grid.x / grid.y)));
    if (!b.failure.empty())
      throw internal_error(std::string(kernel) + ", block (" + std::to_string(block_index.x) + ", " + std::to_string(block_index.y) + ", " +
                           std::to_string(block_index.z) + "): " + b.failure);
  }
}

void fatal(const std::string& message) {
  Block& b = block();
  if (b.failure.empty()) {
    b.failure = message;
    if (b.current) b.failure += " (thread " + std::to_string(index_of(*b.current)) + ")";
  }
  if (!b.current) throw internal_error(message);
  for (;;) yield();  // the scheduler does not come back
}

void* shared(const void* key, size_t bytes, size_t alignment) {
  Block& b = block();
  for (const Slot& s : b.slots)
    if (s.key == key) return s.data;
  const size_t begin = (b.shared_used + alignment - 1) / alignment * alignment;
  size_t total = bytes;
  for (const Slot& s : b.slots) total += s.bytes;
  if (total > shared_capacity()) {
    const std::string message = "expected at most " + std::to_string(shared_capacity()) + " bytes of shared memory, got " + std::to_string(total);
    if (!b.current) throw internal_error(std::string(b.kernel) + ": " + message);
    fatal(message);
  }
  Slot s{key, b.shared_begin + begin, bytes};
  std::memset(s.data, 0xff, bytes + red_zone);  // NaN
  forget(s.data, bytes + red_zone);
  b.shared_used = begin + bytes + red_zone;
  b.slots.push_back(s);
  return s.data;
}

void* dynamic_shared() {
  Block& b = block();
  if (!b.dynamic_bytes) fatal("dynamic shared memory, of which the launch asked for none");
  return b.slots[0].data;
}

void barrier(int line) {
  Block& b = block();
  if (b.at_barrier == 0) b.barrier_line = line;
  else if (b.barrier_line != line)
    fatal("__syncthreads at line " + std::to_string(line) + " while other threads wait in the one at line " + std::to_string(b.barrier_line));
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
  if (!(mask >> lane & 1)) fatal(std::string(name) + " at line " + std::to_string(line) + " with a mask that leaves its own lane out");
  const int lanes = std::min(warp_size, b.threads - warp * warp_size);
  if (lanes < warp_size) mask &= (1u << lanes) - 1;
  auto& meetings = b.meetings[static_cast<size_t>(warp)];
  size_t at = 0;
  while (at < meetings.size() && !(meetings[at].mask & mask)) ++at;
  if (at == meetings.size()) {
    meetings.emplace_back();
    Meeting& made = meetings.back();
    made.mask = mask, made.arrived = 0, made.name = name, made.line = line;
    std::memset(made.operands, 0, sizeof made.operands);
  }
  Meeting& m = meetings[at];
  if (m.mask != mask || m.line != line || (m.name != name && std::strcmp(m.name, name) != 0))
    fatal(std::string(name) + " at line " + std::to_string(line) + " while other lanes of the warp are in " + m.name + " at line " +
          std::to_string(m.line));
  m.arrived |= 1u << lane;
  m.operands[lane] = operands;
  if (m.arrived != mask) return wait_as(State::collective, name, line);
  if (compute) compute(m.operands, mask);
  meetings.erase(meetings.begin() + static_cast<std::ptrdiff_t>(at));
  const bool orders_memory = std::strcmp(name, "__syncwarp") == 0 && (mask == 0xffffffffu || lanes < warp_size);
  for (int i = 0; i < warp_size; ++i) {
    if (!(mask >> i & 1)) continue;
    Thread& t = b.thread[warp * warp_size + i];
    if (orders_memory) ++t.epoch.warp_syncs;
    if (i != lane) make_ready(warp * warp_size + i);
  }
}

void copy_async(void* to, const void* from, int bytes, int source_bytes) {
  if (bytes != 4 && bytes != 8 && bytes != 16) fatal("cp.async of " + std::to_string(bytes) + " bytes");
  if (reinterpret_cast<uintptr_t>(to) % static_cast<uintptr_t>(bytes) || reinterpret_cast<uintptr_t>(from) % static_cast<uintptr_t>(bytes))
    fatal("cp.async of " + std::to_string(bytes) + " bytes, misaligned");
  if (!in_shared(reinterpret_cast<uintptr_t>(to))) fatal("cp.async to something that is not shared memory");
  Thread& t = *block().current;
  Copy c{to, from, bytes, source_bytes, false};
  copy_started(to, static_cast<size_t>(bytes));
  if (now_rather_than_later()) land(c);
  t.copies.push_back(c);
}

void commit_copies() {
  Thread& t = *block().current;
  t.groups.push_back(t.copies.size());
}

void wait_copies(int pending) {
  Thread& t = *block().current;
  if (static_cast<int>(t.groups.size()) <= pending) return;
  const std::ptrdiff_t groups = static_cast<std::ptrdiff_t>(t.groups.size()) - pending;
  const size_t copies = t.groups[static_cast<size_t>(groups - 1)];
  for (size_t i = 0; i < copies; ++i) {
    land(t.copies[i]);
    copy_landed(t.copies[i].to, static_cast<size_t>(t.copies[i].bytes));
  }
  t.copies.erase(t.copies.begin(), t.copies.begin() + static_cast<std::ptrdiff_t>(copies));
  t.groups.erase(t.groups.begin(), t.groups.begin() + groups);
  for (size_t& end : t.groups) end -= copies;
}

uint32_t atomic_cas(uint32_t* at, uint32_t expected, uint32_t value) {
  const uint32_t old = *at;
  if (old == expected) *at = value;
  return old;
}
float atomic_add(float* at, float value) {
  const float old = *at;
  *at = old + value;
  return old;
}
uint32_t atomic_add(uint32_t* at, uint32_t value) {
  const uint32_t old = *at;
  *at = old + value;
  return old;
}

const Epoch* current_epoch() {
  if (!the_block) return nullptr;  // static initialisers of instrumented files
  Thread* t = the_block->current;
  if (!t) return nullptr;
  t->epoch.time = warp_time();
  return &t->epoch;
}

// ---- for the asynchronous units -------------------------------------------------------------------------------------------------

int running_thread() { return index_of(*block().current); }
int threads_of_block() { return block().threads; }
void block_until_woken(const char* what, int line) { wait_as(State::asynchronous, what, line); }
void wake(int thread) { make_ready(thread); }
bool draws() { return options().random_order; }
size_t draw(size_t choices) { return draws() ? static_cast<size_t>(options().random() % choices) : 0; }
bool now_rather_than_later() {
  const Asynchrony a = options().asynchrony;
  return a == Asynchrony::eager || (a == Asynchrony::random && draw(2));
}
uintptr_t shared_address(const void* data) {
  const uintptr_t address = reinterpret_cast<uintptr_t>(data);
  if (!in_shared(address)) fatal("expected an address in shared memory, got another");
  return address - reinterpret_cast<uintptr_t>(block().shared_begin);
}
size_t shared_capacity() { return block().capacity; }
char* shared_data(uintptr_t address) { return block().shared_begin + address; }
void count_proxy_fence() { ++block().current->epoch.proxy_fences; }
uint32_t proxy_fences_of(int thread) { return block().thread[static_cast<size_t>(thread)].epoch.proxy_fences; }

bool in_shared(uintptr_t address) {
  const uintptr_t begin = reinterpret_cast<uintptr_t>(block().shared_begin);
  return begin && address - begin < 2 * largest_shared;
}

}  // namespace emulator
}  // namespace heddle
