// The instructions of clusters: section "Parallel Synchronization and Communication Instructions: barrier.cluster" of
// the manual, and "Data Movement and Conversion Instructions: mapa".
#include "simulator/ops/cluster.h"

#include "simulator/machine/decode.h"

namespace simulator {
namespace {

// "barrier.cluster.arrive": marks the arrival of threads. With .release, the default, threads that wait then see their
// earlier accesses. With .relaxed they only see the mbarrier objects that fence.mbarrier_init made visible.
constexpr uint32_t relaxed = 1, aligned = 2;  // flags
void arrive(Warp& w, const Instruction& i) {
  if (i.flags & aligned) w.need_all(i);
  if (w.must_wait_for_cluster & w.mask) w.fail(i, "a thread arrives twice without barrier.cluster.wait in between");
  w.in_cluster_phase |= w.mask;
  w.must_wait_for_cluster |= w.mask;
  Cluster& cluster = *w.block->cluster;
  Shared& shared = w.block->shared;
  if (!(i.flags & relaxed)) join(cluster.arriving, shared.clock(w.index));
  join(cluster.inits_arriving, shared.fenced_initializations());
  shared.tick(w.index);
  ++progress;
  check_cluster_barrier(cluster);
}

// "barrier.cluster.wait": waits until all threads of the cluster that have not exited have arrived. Its semantics are
// .acquire.
void wait(Warp& w, const Instruction& i) {
  if (i.flags & aligned) w.need_all(i);
  if (~w.must_wait_for_cluster & w.mask) w.fail(i, "a thread waits without barrier.cluster.arrive before");
  if (w.in_cluster_phase & w.mask) {
    --w.pc;  // runs the instruction again in the next turn
    w.yields = true;
    return;
  }
  w.must_wait_for_cluster &= ~w.mask;
  join(w.block->shared.clock(w.index), w.block->cluster->completed);
  w.block->shared.learn_initializations(w.block->cluster->inits_completed);
  w.block->shared.tick(w.index);
  ++progress;
}

void decode_barrier(Decoder& d, const Statement& s, Instruction& i) {
  if (s.op.size() < 3 || s.op[1] != "cluster") return;
  const bool arrives = s.op[2] == "arrive";
  if (!arrives && s.op[2] != "wait") return;
  for (size_t n = 3; n < s.op.size(); ++n) {
    if (s.op[n] == "aligned") i.flags |= aligned;
    else if (arrives && s.op[n] == "relaxed") i.flags |= relaxed;
    else if (s.op[n] != (arrives ? "release" : "acquire")) d.fail(s, "." + s.op[n] + " is not modeled");
  }
  i.run = arrives ? &arrive : &wait;
}

// "mapa": the address in the shared memory of another block of the cluster that corresponds to an address of this one.
void map_address(Warp& w, const Instruction& i) {
  const auto* a = w.get<uint32_t>(i.a);
  const auto* rank = w.get<uint32_t>(i.b);
  uint32_t d[lanes] = {};
  for (int lane = 0; lane < lanes; ++lane) {
    if (!(w.mask >> lane & 1)) continue;
    if (rank[lane] >= w.block->cluster->blocks.size())
      w.fail(i, "block " + std::to_string(rank[lane]) + " of a cluster of " +
                    std::to_string(w.block->cluster->blocks.size()) + " blocks");
    if (a[lane] < shared_begin || a[lane] >= w.block->shared.end()) w.fail(i, "an address outside of shared memory");
    d[lane] = rank[lane] == w.block->rank ? a[lane] : a[lane] | (rank[lane] + 1) << remote_shift;
  }
  commit(w, i.d, d);
}
void decode_mapa(Decoder& d, const Statement& s, Instruction& i) {
  if (joined(s, 1) != "shared::cluster.u32" || s.operands.size() != 3) return;
  i.d = d.target(s.operands[0], Width::b32);
  i.a = d.source(s.operands[1], Width::b32);
  i.b = d.source(s.operands[2], Width::b32);
  i.run = &map_address;
}

}  // namespace

void check_cluster_barrier(Cluster& cluster) {
  bool any = false;
  for (const auto& b : cluster.blocks)
    for (const Warp& w : b->warps) {
      if (w.full & ~w.exited & ~w.in_cluster_phase) return;
      any = any || w.in_cluster_phase;
    }
  if (!any) return;
  for (const auto& b : cluster.blocks)
    for (Warp& w : b->warps) w.in_cluster_phase = 0;
  cluster.completed = cluster.arriving;
  cluster.inits_completed = cluster.inits_arriving;
  ++progress;
}

Block& block_of(const Warp& w, const Instruction& i, uint32_t& address) {
  const uint32_t rank = address >> remote_shift;
  if (rank == 0) return *w.block;
  address &= (1u << remote_shift) - 1;
  return peer(w, i, rank - 1);
}

Block& peer(const Warp& w, const Instruction& i, uint32_t rank) {
  const Cluster& cluster = *w.block->cluster;
  if (rank >= cluster.blocks.size()) w.fail(i, "the cluster has no block " + std::to_string(rank));
  Block& block = *cluster.blocks[rank];
  if (block.running == 0)
    w.fail(i, "accesses the shared memory of block " + std::to_string(rank) + " of the cluster, which has ended");
  return block;
}

void add_cluster_families(Families& f) {
  f["barrier"] = &decode_barrier;
  f["mapa"] = &decode_mapa;
}

}  // namespace simulator
