// Section "Control Flow Instructions" of the manual, and the barriers and fences of "Parallel Synchronization and
// Communication Instructions".
#include "simulator/machine/decode.h"

namespace simulator {
namespace {

// "bra": lanes that diverge run one path after the other, and reconverge at i.rejoin.
void branch(Warp& w, const Instruction& i) {
  const uint32_t taken = w.mask, stays = w.path_mask & ~taken;
  if (stays == 0) {
    w.pc = i.target;
    return;
  }
  // From i.rejoin on, all lanes of this path run together again. If this path ends at i.rejoin too, the enclosing path
  // continues there instead. If i.rejoin is -1, both paths run to the exit.
  if (i.rejoin >= 0 && w.rejoin != i.rejoin) w.paths.push_back({i.rejoin, w.rejoin, w.path_mask});
  if (w.pc != i.rejoin) w.paths.push_back({w.pc, i.rejoin, stays});
  w.pc = i.target, w.rejoin = i.rejoin, w.path_mask = taken;
}

void leave(Warp& w, const Instruction& i) {
  if (w.must_wait & w.mask) w.fail(i, "a thread exits without griddepcontrol.wait, which the launch requires");
  w.exited |= w.mask;
  w.path_mask &= ~w.mask;
  for (int lane = 0; lane < lanes; ++lane)
    if ((w.mask >> lane & 1) && (!w.open_stores[lane].empty() || !w.store_groups[lane].empty())) end_stores(w, i, lane);
  check_cluster_barrier(*w.block->cluster);
  while (w.path_mask == 0) {
    if (w.paths.empty()) {
      bool copies = !w.open_copies.empty();
      for (const auto& group : w.copy_groups) copies |= !group.empty();
      if (copies) w.fail(i, "the warp ends with cp.async in flight");
      if (!w.product_groups.empty() || !w.open_products.empty()) w.fail(i, "the warp ends with wgmma in flight");
      w.state = Warp::finished;
      --w.block->running;
      w.block->shared.leave(w.index);
      ++progress;
      return;
    }
    const Path path = w.paths.back();
    w.paths.pop_back();
    w.pc = path.pc, w.rejoin = path.rejoin, w.path_mask = path.mask & ~w.exited;
  }
}

constexpr uint32_t arrives_only = 1, all_threads = 2;  // flags
// Returns an operand that must be equal in all threads.
uint32_t uniform(Warp& w, const Instruction& i, int32_t offset) {
  const auto* v = w.get<uint32_t>(offset);
  const int first = __builtin_ctz(w.mask);
  for (int l = 0; l < lanes; ++l)
    if ((w.mask >> l & 1) && v[l] != v[first]) w.fail(i, "an operand differs between the threads of the warp");
  return v[first];
}
// "bar a, b": waits at barrier a for b threads. Without b, for all threads of the block. A warp counts as 32 threads.
void barrier(Warp& w, const Instruction& i) {
  w.need_all(i);  // bar is barrier.cta with .aligned
  const uint32_t number = uniform(w, i, i.a);
  if (number > 15) w.fail(i, "expected barrier 0 to 15, got " + std::to_string(number));
  const auto all = static_cast<uint32_t>(w.block->warps.size()) * lanes;
  const uint32_t threads = i.flags & all_threads ? all : uniform(w, i, i.b);
  if (threads == 0 || threads % lanes || threads > all)
    w.fail(i, "a barrier of " + std::to_string(threads) + " threads in a block of " + std::to_string(all));
  NamedBarrier& b = w.block->barriers[number];
  if (b.arrived == 0) b.threads = static_cast<int>(threads), b.clock.clear();
  if (b.threads != static_cast<int>(threads))
    w.fail(i, "expects " + std::to_string(threads) + " threads, but others expect " + std::to_string(b.threads));
  Shared& shared = w.block->shared;
  join(b.clock, shared.clock(w.index));
  shared.tick(w.index);
  b.arrived += lanes;
  if (b.arrived > b.threads) w.fail(i, "more threads arrive than the barrier expects");
  if (!(i.flags & arrives_only)) {
    b.sleepers.push_back(&w);
    w.state = Warp::waiting;
  }
  ++progress;
  if (b.arrived < b.threads) return;
  for (Warp* sleeper : b.sleepers) {
    join(shared.clock(sleeper->index), b.clock);
    sleeper->state = Warp::ready;
  }
  b = {};
}

// Fails unless the member mask, limited to existing lanes, has exactly the lanes that execute the instruction.
void check_members(Warp& w, const Instruction& i, int32_t offset) {
  const uint32_t members = uniform(w, i, offset);
  if ((members & w.full) != w.mask)
    w.fail(i, "the member mask " + std::to_string(members) + " differs from the mask of the threads that execute it, " +
                  std::to_string(w.mask));
}
// "bar.warp.sync": orders the memory accesses of the lanes of the mask.
void warp_barrier(Warp& w, const Instruction& i) {
  check_members(w, i, i.a);
  w.block->shared.tick(w.index);
}

void proxy_fence(Warp& w, const Instruction&) { w.block->shared.fence(w); }
// "fence.mbarrier_init": orders the thread's mbarrier.init before its next barrier.cluster.arrive, even a relaxed one.
void initialization_fence(Warp& w, const Instruction&) { w.block->shared.fence_initializations(w.index); }
void fence(Warp&, const Instruction&) {}  // accesses take effect in program order, so memory fences do nothing

void decode_bra(Decoder& d, const Statement& s, Instruction& i) {
  i.target = d.function.label(s.operands.at(0));
  i.run = &branch;
}
void decode_leave(Decoder&, const Statement&, Instruction& i) { i.run = &leave; }
void decode_bar(Decoder& d, const Statement& s, Instruction& i) {
  const std::string name = joined(s, 1);
  if (name == "warp.sync") {
    i.run = &warp_barrier;
  } else if (name == "sync" || name == "arrive") {
    i.run = &barrier;
    if (name == "arrive") i.flags |= arrives_only;
    if (s.operands.size() < 2) i.flags |= all_threads;
    if (s.operands.size() > 1) i.b = d.source(s.operands[1], Width::b32);
    if (name == "arrive" && s.operands.size() < 2) d.fail(s, "bar.arrive: expected a number of threads");
  } else {
    return;
  }
  i.a = d.source(s.operands.at(0), Width::b32);
}
void decode_fence(Decoder&, const Statement& s, Instruction& i) {
  const std::string name = joined(s, 1);
  if (name == "proxy.async" || name == "proxy.async.shared::cta") i.run = &proxy_fence;
  else if (name == "mbarrier_init.release.cluster") i.run = &initialization_fence;
  else if (name == "acq_rel.gpu" || name == "acq_rel.sys" || name == "acq_rel.cta" || name == "acq_rel.cluster" ||
           name == "sc.gpu")
    i.run = &fence;
}
// "griddepcontrol.wait": launches run one after another, so the kernel before this one has ended.
// "griddepcontrol.launch_dependents" may start the next kernel early, which has no effect until that kernel waits.
void wait_for_previous(Warp& w, const Instruction&) { w.must_wait &= ~w.mask; }
void nothing(Warp&, const Instruction&) {}
void decode_griddepcontrol(Decoder&, const Statement& s, Instruction& i) {
  const std::string name = joined(s, 1);
  if (name == "wait") i.run = &wait_for_previous;
  else if (name == "launch_dependents") i.run = &nothing;
}
void decode_membar(Decoder&, const Statement&, Instruction& i) { i.run = &fence; }
void decode_prefetch(Decoder&, const Statement& s, Instruction& i) {
  if (joined(s, 1) == "tensormap") i.run = &nothing;
}

}  // namespace

void add_control_families(Families& f) {
  f["bra"] = &decode_bra;
  f["ret"] = f["exit"] = &decode_leave;
  f["bar"] = &decode_bar;
  f["fence"] = &decode_fence;
  f["griddepcontrol"] = &decode_griddepcontrol;
  f["membar"] = &decode_membar;
  f["prefetch"] = &decode_prefetch;
}

}  // namespace simulator
