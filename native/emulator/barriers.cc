// Barriers of the asynchronous units: mbarrier, and named barriers of the block.
#include "emulator/asynchronous_state.h"

namespace heddle {
namespace emulator {

Barrier& find(uintptr_t address, const Clock& known, const char* what, int line) {
  Asynchronous& s = asynchronous_state();
  const auto found = s.barriers.find(address);
  if (found == s.barriers.end()) fatal(std::string(what) + at(line) + " on an uninitialized barrier");
  Barrier& b = found->second;
  if (known[place(b.owner)] < b.since)
    fatal(std::string(what) + at(line) + " on a barrier whose initialization is not ordered before it");
  return b;
}
static Barrier& find(void* barrier, const char* what, int line) {
  return find(shared_address(barrier), my_warp().clock, what, line);
}

void complete_if_done(Barrier& b) {
  if (b.pending > 0 || b.bytes != 0) return;
  ++b.phase;
  b.pending = b.count;
  b.completed = b.arriving;
  for (int thread : b.waiting) wake(thread);
  b.waiting.clear();
}

void init_barrier(void* barrier, uint32_t count, int line) {
  Asynchronous& s = asynchronous_state();
  const uintptr_t address = shared_address(barrier);
  if (address % 8) fatal("mbarrier.init" + at(line) + " of a misaligned barrier");
  if (count < 1 || count >= 1u << 20)
    fatal("mbarrier.init" + at(line) + ": expected a count of 1 to 2^20 - 1, got " + std::to_string(count));
  if (s.barriers.count(address)) fatal("mbarrier.init" + at(line) + " of a barrier that is in use");
  const int warp = warp_of(running_thread());
  Barrier b{};
  b.count = b.pending = count;
  b.owner = warp, b.since = my_warp().clock[place(warp)];
  b.arriving = b.completed = Clock(my_warp().clock.size(), 0);
  s.barriers.emplace(address, std::move(b));
  s.used = true;
}

void fence_async() {
  count_proxy_fence();
  for (auto& [address, b] : asynchronous_state().barriers)
    if (b.owner == warp_of(running_thread())) b.fenced = true;
}

namespace {
void arrive(Barrier& b, const Clock& known, uint32_t expected_bytes, int line) {
  if (b.pending == 0) fatal("mbarrier.arrive" + at(line) + ": more arrivals than the barrier's count");
  join(b.arriving, known);
  b.bytes += expected_bytes;
  --b.pending;
  complete_if_done(b);
}
}  // namespace

void arrive(void* barrier, uint32_t expected_bytes, int line) {
  Barrier& b = find(barrier, "mbarrier.arrive", line);
  arrive(b, my_warp().clock, expected_bytes, line);
  ++my_warp().clock[place(warp_of(running_thread()))];
}

void check_peer(uint32_t rank, const char* what, int line) {
  if (rank >= static_cast<uint32_t>(blocks_of_cluster()))
    fatal(what + at(line) + ": the cluster has no block " + std::to_string(rank));
  const InBlock in(static_cast<int>(rank));
  if (has_ended()) fatal(what + at(line) + " in block " + std::to_string(rank) + " of the cluster, which has ended");
}

void arrive_at(void* barrier, uint32_t rank, int line) {
  check_peer(rank, "mbarrier.arrive", line);
  if (static_cast<int>(rank) == running_rank()) return arrive(barrier, 0, line);
  const uintptr_t address = shared_address(barrier);
  Warp& w = my_warp();
  const size_t mine = place(warp_of(running_thread()));
  {
    const InBlock in(static_cast<int>(rank));
    Barrier& b = find(address, w.clock, "mbarrier.arrive", line);
    asynchronous_state().touched[mine] = w.clock[mine];
    arrive(b, w.clock, 0, line);
  }
  ++w.clock[mine];
}

void wait_barrier(void* barrier, uint32_t parity, int line) {
  Barrier& b = find(barrier, "mbarrier.try_wait", line);
  while ((b.phase & 1) == parity) {
    b.waiting.push_back(running_thread());
    block_until_woken("mbarrier.try_wait", line);
  }
  Warp& w = my_warp();
  join(w.clock, b.completed);
  w.seen[shared_address(barrier)] = b.phase;
}

namespace {

struct AtNamed {
  int number, threads, line;
  bool wait;
  uint32_t phase;
};

// Arrives at a named barrier for a whole warp. The last of the warp's lanes runs this.
void arrive_named(void** lanes, uint32_t) {
  AtNamed& first = *static_cast<AtNamed*>(lanes[0]);
  Asynchronous& s = asynchronous_state();
  s.used = true;
  const std::string what = "named barrier " + std::to_string(first.number) + at(first.line);
  for (int i = 1; i < warp_lanes; ++i) {
    const AtNamed& lane = *static_cast<AtNamed*>(lanes[i]);
    if (lane.number != first.number || lane.threads != first.threads || lane.wait != first.wait)
      fatal(what + ": the lanes of a warp use different barriers, counts or instructions");
  }
  if (first.number < 1 || first.number > 15) fatal(what + ": expected 1 to 15");  // __syncthreads uses 0
  if (first.threads < warp_lanes || first.threads % warp_lanes || first.threads > threads_of_block())
    fatal(what + ": expected whole warps of the block, got " + std::to_string(first.threads) + " threads");
  NamedBarrier& b = s.named[first.number];
  if (b.threads && b.threads != first.threads)
    fatal(what + ": expects " + std::to_string(first.threads) + " threads, but the call at line " +
          std::to_string(b.line) + " expects " + std::to_string(b.threads));
  if (!b.threads) b.arriving.assign(my_warp().clock.size(), 0), b.waited_for = false;
  b.threads = first.threads, b.line = first.line;
  b.waited_for = b.waited_for || first.wait;
  const size_t warp = static_cast<size_t>(warp_of(running_thread()));
  Warp& w = s.warps[warp];
  join(b.arriving, w.clock);
  ++w.clock[s.first + warp];
  for (int i = 0; i < warp_lanes; ++i) static_cast<AtNamed*>(lanes[i])->phase = b.phase;
  b.arrived += warp_lanes;
  if (b.arrived < b.threads) return;
  if (!b.waited_for) fatal(what + ": no thread waits for it");
  ++b.phase;
  b.threads = b.arrived = 0;
  b.completed = b.arriving;
  for (int thread : b.waiting) wake(thread);
  b.waiting.clear();
}

}  // namespace

void named_barrier(int number, int threads, bool wait, int line) {
  AtNamed mine{number, threads, line, wait, 0};
  collective(0xffffffffu, wait ? "bar.sync" : "bar.arrive", line, &mine, arrive_named);
  if (!wait) return;
  NamedBarrier& b = asynchronous_state().named[number];
  while (b.phase == mine.phase) {
    b.waiting.push_back(running_thread());
    block_until_woken("bar.sync", line);
  }
  join(my_warp().clock, b.completed);
}

}  // namespace emulator
}  // namespace heddle
