// Section "Data Movement and Conversion Instructions: Asynchronous copy" of the manual: cp.async, and bulk copies to
// global memory. The bytes move at the latest possible moment: when a thread waits for the copy's group.
#include <algorithm>
#include <cmath>

#include "simulator/machine/decode.h"
#include "simulator/machine/memory.h"
#include "simulator/ops/tensor_map.h"

namespace simulator {
namespace {

// "cp.async": writes i.flags bytes to shared memory. The fourth operand is the number of bytes that it reads. The rest
// become zeros.
void copy_async(Warp& w, const Instruction& i) {
  AsyncCopy c;
  c.instruction = &i;
  c.mask = w.mask;
  c.bytes = i.flags;
  const auto* to = w.get<uint32_t>(i.a);
  const auto* from = w.get<uint64_t>(i.b);
  const auto* size = w.get<uint32_t>(i.c);
  const int32_t* offset = w.kernel->operands.data() + i.first;  // the constant added to the source address
  for (int lane = 0; lane < lanes; ++lane) {
    if (!(w.mask >> lane & 1)) continue;
    c.to[lane] = to[lane] + static_cast<uint32_t>(i.immediate);
    c.from[lane] = from[lane] + static_cast<uint64_t>(static_cast<int64_t>(*offset));
    c.source_bytes[lane] = size[lane];
    if (c.to[lane] % c.bytes || c.from[lane] % c.bytes) w.fail(i, "addresses must be multiples of the size");
    if (size[lane] > c.bytes)
      w.fail(
          i, "expected a source of at most " + std::to_string(c.bytes) + " bytes, got " + std::to_string(size[lane]));
    if (size[lane]) memory::check(w, i, c.from[lane], size[lane]);
    w.block->shared.begin_copy(w, i, lane, c.to[lane], c.bytes, Shared::Proxy::generic);
  }
  w.open_copies.push_back(c);
}

// Completes a copy.
void land(Warp& w, const AsyncCopy& c) {
  for (int lane = 0; lane < lanes; ++lane) {
    if (!(c.mask >> lane & 1)) continue;
    unsigned char* to = w.block->shared.data(c.to[lane]);
    std::memset(to, 0, c.bytes);
    if (c.source_bytes[lane])  // the address may be null
      std::memcpy(to, reinterpret_cast<const void*>(c.from[lane]), c.source_bytes[lane]);
    w.block->shared.end_copy(w, lane, c.to[lane], c.bytes);
  }
}

void need_path(Warp& w, const Instruction& i) {
  if (w.mask != (w.full & ~w.exited)) w.fail(i, "groups of only some threads of a warp are not modeled");
}
void commit_group(Warp& w, const Instruction& i) {
  need_path(w, i);
  w.copy_groups.push_back(std::move(w.open_copies));
  w.open_copies.clear();
}
// "cp.async.wait_group N": waits until at most N groups are in flight.
void wait_group(Warp& w, const Instruction& i) {
  need_path(w, i);
  while (w.copy_groups.size() > static_cast<size_t>(i.immediate)) {
    for (const AsyncCopy& c : w.copy_groups.front()) land(w, c);
    w.copy_groups.pop_front();
  }
}

// Bulk copies and reductions from shared to global memory: sections "cp.async.bulk", "cp.async.bulk.tensor" and
// "cp.reduce.async.bulk".
constexpr uint32_t adds = 1;  // flag of reductions
void store_bulk(Warp& w, const Instruction& i) {
  const auto* to = w.get<uint64_t>(i.a);
  const auto* from = w.get<uint32_t>(i.b);
  const auto* bytes = w.get<uint32_t>(i.c);
  for (int lane = 0; lane < lanes; ++lane) {
    if (!(w.mask >> lane & 1)) continue;
    BulkStore s;
    s.instruction = &i, s.from = from[lane], s.bytes = bytes[lane];
    s.to = to[lane] + static_cast<uint64_t>(i.immediate);
    if (s.from % 16 || s.to % 16 || s.bytes % 16) w.fail(i, "addresses and size must be multiples of 16");
    if (s.bytes == 0) continue;
    memory::check(w, i, s.to, s.bytes);
    w.block->shared.read(w, i, lane, s.from, s.bytes, Shared::Proxy::async);
    w.open_stores[lane].push_back(s);
  }
}
// cp.async.bulk.tensor: the target is a box of a tensor.
void store_box(Warp& w, const Instruction& i) {
  const int rank = static_cast<int>(i.count);
  const int32_t* coordinates = w.kernel->operands.data() + i.first;
  for (int lane = 0; lane < lanes; ++lane) {
    if (!(w.mask >> lane & 1)) continue;
    BulkStore s;
    s.instruction = &i, s.map = w.get<uint64_t>(i.a)[lane], s.from = w.get<uint32_t>(i.b)[lane];
    s.bytes = tensor_map(w, i, s.map, rank).box_bytes();
    for (int d = 0; d < rank; ++d) s.at[d] = static_cast<int32_t>(w.get<uint32_t>(coordinates[d])[lane]);
    check_box_address(w, i, s.from);
    w.block->shared.read(w, i, lane, s.from, s.bytes, Shared::Proxy::async);
    w.open_stores[lane].push_back(s);
  }
}
// Replaces a subnormal number by zero of the same sign. 2^-126 is the smallest normal number. cp.reduce.async.bulk
// flushes its operands and results.
float flushed(float f) { return std::fabs(f) < 1.17549435e-38f ? std::copysign(0.0f, f) : f; }

void read_source(Warp& w, int lane, BulkStore& s) {
  if (!s.data.empty()) return;
  // Checks again for races. If a thread has written to the source after store_bulk, it has not waited for the copy.
  w.block->shared.read(w, *s.instruction, lane, s.from, s.bytes, Shared::Proxy::async);
  const unsigned char* data = w.block->shared.data(s.from);
  s.data.assign(data, data + s.bytes);
}
// "Out-of-boundary access": elements outside of the tensor are not written.
void write_box(Warp& w, const BulkStore& s) {
  const auto& map = *reinterpret_cast<const TensorMap*>(s.map);
  each_element(map, s.at, s.from, [&](uint32_t from, uint64_t to) {
    if (!to) return;
    memory::check(w, *s.instruction, to, map.element_bytes);
    std::memcpy(reinterpret_cast<void*>(to), s.data.data() + (from - s.from), map.element_bytes);
  });
}
void write_target(Warp& w, BulkStore& s) {
  if (s.map) return write_box(w, s);
  auto* to = reinterpret_cast<unsigned char*>(s.to);
  if (!(s.instruction->flags & adds)) {
    std::memcpy(to, s.data.data(), s.bytes);
    return;
  }
  for (uint32_t n = 0; n < s.bytes; n += 4) {
    float sum, term;
    std::memcpy(&sum, to + n, 4);
    std::memcpy(&term, s.data.data() + n, 4);
    sum = flushed(flushed(sum) + flushed(term));
    std::memcpy(to + n, &sum, 4);
  }
}

void commit_stores(Warp& w, const Instruction&) {
  for (int lane = 0; lane < lanes; ++lane)
    if (w.mask >> lane & 1) {
      w.store_groups[lane].push_back(std::move(w.open_stores[lane]));
      w.open_stores[lane].clear();
    }
}
// "cp.async.bulk.wait_group N": waits until at most N groups are in flight. With .read, only until their sources are
// read.
template <bool only_read> void wait_stores(Warp& w, const Instruction& i) {
  for (int lane = 0; lane < lanes; ++lane) {
    if (!(w.mask >> lane & 1)) continue;
    auto& groups = w.store_groups[lane];
    const size_t keep = static_cast<size_t>(i.immediate), done = groups.size() > keep ? groups.size() - keep : 0;
    for (size_t g = 0; g < done; ++g)
      for (BulkStore& s : groups[g]) {
        read_source(w, lane, s);
        if (!only_read) write_target(w, s);
      }
    if (!only_read) groups.erase(groups.begin(), groups.begin() + static_cast<std::ptrdiff_t>(done));
  }
  ++progress;
}

int64_t group_count(Decoder& d, const Statement& s) {
  if (s.operands.size() != 1 || s.operands[0].kind != Operand::immediate) d.fail(s, "expected a number of groups");
  return static_cast<int64_t>(s.operands[0].bits);
}

void decode_cp(Decoder& d, const Statement& s, Instruction& i) {
  const std::string name = joined(s);
  if (name == "cp.async.cg.shared.global" || name == "cp.async.ca.shared.global") {
    if (s.operands.size() != 4 || s.operands[2].kind != Operand::immediate) d.fail(s, "expected four operands");
    i.flags = static_cast<uint32_t>(s.operands[2].bits);
    const bool l2 = s.op[2] == "cg";  // .cg caches in L2 only
    if (l2 ? i.flags != 16 : i.flags != 4 && i.flags != 8 && i.flags != 16)
      d.fail(s, l2 ? "expected 16 bytes" : "expected 4, 8 or 16 bytes");
    Instruction from;
    d.address(s.operands[1], from);
    if (d.address(s.operands[0], i) != Width::b32) d.fail(s, "expected a shared address of 32 bits");
    i.b = from.a;
    d.list(i, static_cast<int32_t>(from.immediate));
    i.c = d.source(s.operands[3], Width::b32);
    i.run = &copy_async;
  } else if (name == "cp.async.commit_group") {
    i.run = &commit_group;
  } else if (name == "cp.async.wait_group") {
    i.immediate = group_count(d, s);
    i.run = &wait_group;
  } else if (name == "cp.async.bulk.commit_group") {
    i.run = &commit_stores;
  } else if (name == "cp.async.bulk.wait_group" || name == "cp.async.bulk.wait_group.read") {
    i.immediate = group_count(d, s);
    i.run = s.op.back() == "read" ? &wait_stores<true> : &wait_stores<false>;
  } else if (name == "cp.async.bulk.global.shared::cta.bulk_group" ||
             name == "cp.reduce.async.bulk.global.shared::cta.bulk_group.add.f32") {
    Instruction from;
    if (d.address(s.operands.at(1), from) != Width::b32 || from.immediate) d.fail(s, "expected a plain shared address");
    d.address(s.operands.at(0), i);
    i.b = from.a;
    i.c = d.source(s.operands.at(2), Width::b32);
    i.flags = s.op[1] == "reduce" ? adds : 0;
    i.run = &store_bulk;
  } else if (name == "cp.async.bulk.tensor.2d.global.shared::cta.bulk_group") {
    const Operand& to = s.operands.at(0);
    Instruction from;
    if (d.address(s.operands.at(1), from) != Width::b32 || from.immediate) d.fail(s, "expected a plain shared address");
    if (to.kind != Operand::address || to.offset || to.parts.size() != 2 || to.parts[1].kind != Operand::vector ||
        to.parts[1].parts.size() != 2)
      d.fail(s, "expected a tensor map and two coordinates");
    i.a = d.source(to.parts[0], Width::b64);
    i.b = from.a;
    for (const Operand& c : to.parts[1].parts) d.list(i, d.source(c, Width::b32));
    i.run = &store_box;
  } else {
    decode_bulk_load(d, s, i);
  }
}

}  // namespace

void end_stores(Warp& w, const Instruction& i, int lane) {
  bool unread = !w.open_stores[lane].empty();
  for (auto& group : w.store_groups[lane])
    for (BulkStore& s : group) {
      if (s.data.empty()) unread = true;
      else write_target(w, s);
    }
  if (unread) w.fail(i, "a thread exits before its bulk copies have read shared memory");
  w.store_groups[lane].clear();
}

void add_copy_families(Families& f) { f["cp"] = &decode_cp; }

}  // namespace simulator
