// Section "Parallel Synchronization and Communication Instructions: mbarrier" of the manual. Also the bulk copies to
// shared memory, which complete transactions of an mbarrier: "cp.async.bulk" and "cp.async.bulk.tensor".
#include "simulator/machine/decode.h"
#include "simulator/machine/memory.h"
#include "simulator/ops/cluster.h"
#include "simulator/ops/tensor_map.h"

namespace simulator {
namespace {

constexpr int64_t most_transactions = (1 << 20) - 1;  // the maximum of the tx-count

// "Phase Completion of the mbarrier object".
void complete_phase(Mbarrier& m) {
  if (m.pending != 0 || m.transactions != 0) return;
  m.completed = m.arriving, m.far_completed = m.far_arriving, m.any_completed = m.any_arriving;
  m.arriving.assign(m.arriving.size(), 0);
  m.far_arriving.assign(m.far_arriving.size(), 0);
  m.any_arriving.assign(m.any_arriving.size(), 0);
  m.pending = m.expected;
  ++m.phase;
  ++progress;
}

void init(Warp& w, const Instruction& i) {
  const auto* a = w.get<uint32_t>(i.a);
  const auto* count = w.get<uint32_t>(i.b);
  for (int lane = 0; lane < lanes; ++lane)
    if (w.mask >> lane & 1)
      w.block->shared.init_mbarrier(w, i, lane, a[lane] + static_cast<uint32_t>(i.immediate), count[lane]);
}

// "mbarrier.arrive", with release semantics. With .expect_tx, first adds the number of bytes that copies will write in
// this phase. The object may be in another block's shared memory (.shared::cluster). Then the arrival only orders
// memory accesses if both its scope and that of the wait are .cluster.
constexpr uint32_t expects = 1, cluster_space = 2, cluster_scope = 4;  // flags
void arrive(Warp& w, const Instruction& i) {
  Shared& shared = w.block->shared;
  const auto* a = w.get<uint32_t>(i.a);
  for (int lane = 0; lane < lanes; ++lane) {
    if (!(w.mask >> lane & 1)) continue;
    uint32_t address = a[lane] + static_cast<uint32_t>(i.immediate);
    Block& block = i.flags & cluster_space ? block_of(w, i, address) : *w.block;
    Mbarrier& m = block.shared.mbarrier(w, i, address);
    if (i.flags & expects) m.transactions += w.get<uint32_t>(i.b)[lane];
    if (m.transactions > most_transactions) w.fail(i, "the transaction count is out of its range");
    if (m.pending == 0) w.fail(i, "more arrivals than the mbarrier object expects in this phase");
    --m.pending;
    if (&block == w.block) join(m.arriving, shared.clock(w.index));
    else if (i.flags & cluster_scope) join(m.far_arriving, shared.clock(w.index));
    if (&block != w.block) {
      join(m.any_arriving, shared.clock(w.index));
      Shared::touch(m, w);
    }
    complete_phase(m);
  }
  shared.tick(w.index);
  ++progress;
}

// Copies a box to shared memory. Elements outside of the tensor become zeros.
void land_box(Shared& shared, const AsyncBox& c) {
  const auto& map = *reinterpret_cast<const TensorMap*>(c.map);
  each_element(map, c.at, c.to, [&](uint32_t to, uint64_t from) {
    if (from) std::memcpy(shared.data(to), reinterpret_cast<const void*>(from), map.element_bytes);
    else std::memset(shared.data(to), 0, map.element_bytes);
  });
}

// Completes the oldest copy in flight and its transactions. Threads that wait for the phase then see its bytes.
void land(Shared& shared, Mbarrier& m) {
  const AsyncBox c = m.copies.front();
  m.copies.erase(m.copies.begin());
  if (c.map) land_box(shared, c);
  else std::memcpy(shared.data(c.to), reinterpret_cast<const void*>(c.from), c.bytes);
  shared.end_agent_copy(c.to, c.bytes, m.arriving);
  m.transactions -= c.bytes;
  complete_phase(m);
  ++progress;
}

// "mbarrier.try_wait.parity": tests whether the phase of this parity has completed. If it has not, completes one copy
// in flight and tests again. If it has, the accesses before the phase's arrivals are visible to the warp (acquire).
// The scope .cluster also makes those before arrivals from other blocks visible.
void try_wait(Warp& w, const Instruction& i) {
  Shared& shared = w.block->shared;
  const auto* a = w.get<uint32_t>(i.a);
  const auto* parity = w.get<uint32_t>(i.b);
  uint32_t done[lanes] = {};
  bool failed = false;
  for (int lane = 0; lane < lanes; ++lane) {
    if (!(w.mask >> lane & 1)) continue;
    if (parity[lane] > 1) w.fail(i, "expected a parity of 0 or 1, got " + std::to_string(parity[lane]));
    Mbarrier& m = shared.mbarrier(w, i, a[lane] + static_cast<uint32_t>(i.immediate));
    if ((m.phase & 1) == parity[lane] && !m.copies.empty()) land(shared, m);
    done[lane] = (m.phase & 1) != parity[lane];
    if (done[lane]) join(shared.clock(w.index), m.completed);
    if (done[lane] && (i.flags & cluster_scope)) join(shared.clock(w.index), m.far_completed);
    if (done[lane]) shared.note_before(w.index, m.any_completed), join(m.awaited, m.any_completed);
    failed |= !done[lane];
  }
  commit_bits(w, i.d, done);
  w.yields = failed;
}

// Issues the part of a copy that writes to one block, and completes transactions of the block's own mbarrier object.
void begin_load(Warp& w, const Instruction& i, int lane, Block& block, const AsyncBox& c, uint32_t barrier) {
  Mbarrier& m = block.shared.mbarrier(w, i, barrier);
  if (!block.shared.fenced(m.init_warp, m.init_lane, m.init_clock))
    w.fail(i, "the mbarrier object was initialized without fence.proxy.async after it");
  block.shared.begin_copy(w, i, lane, c.to, c.bytes, Shared::Proxy::async);
  m.copies.push_back(c);
}

// Issues a copy to shared memory: of a tensor's box, or of contiguous bytes. With .multicast::cluster, the bytes and
// the signal go to the same offsets in the shared memory of each block in the mask.
constexpr uint32_t boxed = 1, multicast = 2;  // flags
void load_bulk(Warp& w, const Instruction& i) {
  // The mbarrier, the mask of a multicast, then bytes or coordinates.
  const int32_t* more = w.kernel->operands.data() + i.first;
  const int32_t* size = more + (i.flags & multicast ? 2 : 1);
  for (int lane = 0; lane < lanes; ++lane) {
    if (!(w.mask >> lane & 1)) continue;
    AsyncBox c;
    c.instruction = &i;
    c.to = w.get<uint32_t>(i.a)[lane] + static_cast<uint32_t>(i.immediate);
    const uint64_t from = w.get<uint64_t>(i.b)[lane];
    if (i.flags & boxed) {
      c.map = from;
      w.need_wait(i);  // the map may be a parameter, but the box is not
      c.rank = static_cast<int>(more + i.count - size);
      c.bytes = tensor_map(w, i, from, c.rank).box_bytes();
      for (int d = 0; d < c.rank; ++d) c.at[d] = static_cast<int32_t>(w.get<uint32_t>(size[d])[lane]);
      check_box_address(w, i, c.to);
    } else {
      c.from = from;
      c.bytes = w.get<uint32_t>(*size)[lane];
      if (c.to % 16 || from % 16 || c.bytes % 16) w.fail(i, "addresses and size must be multiples of 16");
      if (c.bytes) memory::check(w, i, from, c.bytes);
    }
    if (c.bytes == 0) continue;
    uint32_t barrier = w.get<uint32_t>(more[0])[lane];
    if (!(i.flags & multicast)) {
      Block& block = block_of(w, i, barrier);
      if (&block != &block_of(w, i, c.to)) w.fail(i, "the destination and the mbarrier object are in different blocks");
      begin_load(w, i, lane, block, c, barrier);
      continue;
    }
    const uint32_t mask = w.get<uint32_t>(more[1])[lane] & 0xffff;
    if (mask == 0 || mask >> w.block->cluster->blocks.size())
      w.fail(i, "a mask of blocks " + std::to_string(mask) + " in a cluster of " +
                    std::to_string(w.block->cluster->blocks.size()) + " blocks");
    if (c.to >> remote_shift || barrier >> remote_shift)
      w.fail(i, "a multicast with addresses of another block is not modeled");
    for (uint32_t rank = 0; mask >> rank; ++rank)
      if (mask >> rank & 1) begin_load(w, i, lane, peer(w, i, rank), c, barrier);
  }
  ++progress;
}

void decode_mbarrier(Decoder& d, const Statement& s, Instruction& i) {
  const std::string name = joined(s, 1);
  size_t address = 0;
  if (name == "init.shared::cta.b64") {
    i.run = &init;
    i.b = d.source(s.operands.at(1), Width::b32);
  } else if (name == "arrive.shared::cta.b64" || name == "arrive.expect_tx.shared::cta.b64" ||
             name == "arrive.shared::cluster.b64" || name == "arrive.release.cluster.shared::cluster.b64") {
    if (s.operands.at(0).kind != Operand::none) d.fail(s, "the state result is not modeled: expected _");
    address = 1;
    i.run = &arrive;
    if (s.op[s.op.size() - 2] == "shared::cluster") i.flags |= cluster_space;
    if (s.op[2] == "release") i.flags |= cluster_scope;
    if (s.operands.size() > (s.op[2] == "expect_tx" ? 3u : 2u)) d.fail(s, "the count operand is not modeled");
    if (s.op[2] == "expect_tx") i.flags |= expects, i.b = d.source(s.operands.at(2), Width::b32);
  } else if (name == "try_wait.parity.shared::cta.b64" || name == "try_wait.parity.acquire.cluster.shared::cta.b64") {
    address = 1;
    if (s.op[3] == "acquire") i.flags |= cluster_scope;
    i.run = &try_wait;
    i.d = d.target(s.operands.at(0), Width::predicate);
    i.b = d.source(s.operands.at(2), Width::b32);
  } else {
    return;
  }
  if (d.address(s.operands.at(address), i) != Width::b32) d.fail(s, "expected an address of 32 bits");
}

}  // namespace

void decode_bulk_load(Decoder& d, const Statement& s, Instruction& i) {
  std::string name = joined(s);
  const std::string tail = "shared::cluster.global.mbarrier::complete_tx::bytes";
  const bool to_several = s.op.back() == "multicast::cluster";
  if (to_several) name.resize(name.size() - s.op.back().size() - 1);
  const bool box = name == "cp.async.bulk.tensor.2d." + tail || name == "cp.async.bulk.tensor.4d." + tail;
  if (!box && name != "cp.async.bulk." + tail) return;
  const size_t last = box ? 2 : 3;
  if (s.operands.size() != last + (to_several ? 2 : 1)) d.fail(s, "wrong number of operands");
  const Operand &from = s.operands[1], &barrier = s.operands[last];
  if (from.kind != Operand::address || from.offset || barrier.kind != Operand::address || barrier.offset)
    d.fail(s, "expected plain addresses");
  if (d.address(s.operands[0], i) != Width::b32) d.fail(s, "expected a shared address of 32 bits");
  if (to_several) i.flags |= multicast;
  i.b = d.source(from.parts[0], Width::b64);
  d.list(i, d.source(barrier.parts[0], Width::b32));
  if (to_several) d.list(i, d.source(s.operands[last + 1], Width::b32));
  if (box) {
    const Operand& at = from.parts.at(1);
    if (at.kind != Operand::vector || at.parts.size() != static_cast<size_t>(s.op[4][0] - '0'))
      d.fail(s, "wrong number of coordinates");
    for (const Operand& c : at.parts) d.list(i, d.source(c, Width::b32));
    i.flags |= boxed;
  } else {
    d.list(i, d.source(s.operands[2], Width::b32));
  }
  i.run = &load_bulk;
}

void add_mbarrier_families(Families& f) { f["mbarrier"] = &decode_mbarrier; }

}  // namespace simulator
