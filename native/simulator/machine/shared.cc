#include "simulator/machine/shared.h"

#include <algorithm>
#include <cstring>

#include "simulator/machine/machine.h"

namespace simulator {
namespace {
// An element of reads_ has the clock in its upper bits and the lane in its lower 6 bits.
constexpr uint32_t lane_bits = 6;
constexpr uint32_t several = 32;     // instead of a lane: more than one lane of the warp has read
constexpr uint32_t by_product = 33;  // instead of a lane: only products have read
}  // namespace

void join(Clock& into, const Clock& other) {
  if (into.size() < other.size()) into.resize(other.size(), 0);
  for (size_t i = 0; i < other.size(); ++i) into[i] = std::max(into[i], other[i]);
}

uint32_t Shared::first_time() const {
  uint32_t time = 1;
  for (const Clock& c : clocks_)
    for (const uint32_t t : c) time = std::max(time, t + 1);
  return time;
}

void Shared::start(uint32_t bytes, int warps, int rank, int blocks, uint32_t base) {
  const size_t granules = (bytes + 3) / 4, each = static_cast<size_t>(warps) + 1;
  const bool same = warps == warps_ && blocks == blocks_ && granules == writes_.size() && base >= first_time();
  bytes_.assign(granules * 4, 0xff);  // NaN
  states_.assign(granules * 4, empty);
  if (!same) {
    writes_.assign(granules, Write{});
    reads_.assign(static_cast<size_t>(warps), std::vector<uint32_t>(granules, 0));
  }
  // All clocks of this block are newer than those of the previous block, whose reads and writes thus need not be
  // cleared.
  warps_ = warps, blocks_ = blocks;
  first_ = static_cast<size_t>(rank) * each, begin_ = base;
  clocks_.assign(each, Clock(each * static_cast<size_t>(blocks), base));
  for (size_t i = 0; i < clocks_.size(); ++i) clocks_[i][first_ + i] = base + 1;
  before_.assign(clocks_.size(), Clock(clocks_[0].size(), 0));
  ordered_.assign(clocks_.size(), base + 1);
  fences_.assign(static_cast<size_t>(warps) * lanes, 0);
  copied_ = 0;
  for (Clock* c : {&left_, &fenced_inits_, &known_inits_}) c->assign(clocks_[0].size(), 0);
  mbarriers.clear();
}

void Shared::tick(int warp) { ordered_[static_cast<size_t>(warp)] = ++clock(warp)[place(warp)]; }

void Shared::fence(const Warp& w) {
  // A fence orders the accesses of one thread, not those of the warp's lanes, so `ordered_` stays.
  const uint32_t now = ++clock(w.index)[place(w.index)];
  for (int lane = 0; lane < lanes; ++lane)
    if (w.mask >> lane & 1) fences_[static_cast<size_t>(w.index * lanes + lane)] = now;
}

bool Shared::is_mine(const Warp& w) const { return &w.block->shared == this; }

void Shared::touch(Mbarrier& m, const Warp& w) {
  const Shared& other = w.block->shared;
  m.touched[other.place(w.index)] = other.time(w.index);
}

int Shared::accessed_after_end() const {
  if (copied_ > left_[place(warps_)]) return static_cast<int>(place(warps_));
  for (const auto& m : mbarriers)
    for (size_t n = 0; n < left_.size(); ++n)
      if (m.second.touched[n] > std::max(left_[n], m.second.awaited[n])) return static_cast<int>(n);
  return -1;
}

bool Shared::fenced(int warp, int lane, uint32_t clock) const {
  return fences_[static_cast<size_t>(warp * lanes + lane)] > clock;
}

void Shared::bounds(const Warp& w, const Instruction& i, uint32_t address, uint32_t bytes) const {
  if (address < shared_begin || address + uint64_t{bytes} > shared_begin + bytes_.size())
    w.fail(i, "shared memory: " + std::to_string(bytes) + " bytes at " + std::to_string(address) + " are outside of [" +
                  std::to_string(shared_begin) + ", " + std::to_string(shared_begin + bytes_.size()) + ")");
}

void Shared::race(
    const Warp& w, const Instruction& i, int lane, const char* what, uint32_t granule, uint32_t other) const {
  w.fail(i, std::string("race in shared memory at ") + std::to_string(shared_begin + granule * 4) +
                (is_mine(w) ? ": thread " : " of another block: thread ") + std::to_string(w.index * lanes + lane) +
                " " + what + " of " +
                (other == static_cast<uint32_t>(warps_) * lanes ? std::string("an asynchronous copy")
                                                                : "thread " + std::to_string(other)));
}

void Shared::check_states(const Warp& w, const Instruction& i, uint32_t at, uint32_t bytes) const {
  for (uint32_t b = at; b < at + bytes; ++b)
    if (states_[b] != written)
      w.fail(i, std::string("shared memory at ") + std::to_string(shared_begin + b) +
                    (states_[b] == empty       ? " was never written"
                        : states_[b] == flying ? " is being written by a copy that was not waited for"
                                               : " is an mbarrier object"));
}

void Shared::read(const Warp& w, const Instruction& i, int lane, uint32_t address, uint32_t bytes, Proxy proxy) {
  bounds(w, i, address, bytes);
  const uint32_t at = address - shared_begin;
  const Clock& mine = clocks_[static_cast<size_t>(w.index)];
  std::vector<uint32_t>& reads = reads_[static_cast<size_t>(w.index)];
  const auto self = static_cast<uint32_t>(w.index), thread = self * lanes + static_cast<uint32_t>(lane);
  const uint32_t now = mine[place(w.index)];
  uint32_t all = 0x01010101;  // State::written of four bytes
  for (uint32_t b = at & ~3u; bytes % 4 == 0 && b < at + bytes; b += 4) {
    uint32_t four;
    std::memcpy(&four, states_.data() + b, 4);
    if (four != all) all = 0;
  }
  if (bytes % 4 || !all) check_states(w, i, at, bytes);
  const unsigned touched = bytes < 4 ? ((1u << bytes) - 1) << at % 4 : 15u;
  for (uint32_t g = at / 4; g <= (at + bytes - 1) / 4; ++g) {
    const Write& last = writes_[g];
    if (last.clock && last.thread != thread && (last.touched & touched)) {
      const uint32_t writer = last.thread / lanes;
      if (writer == self ? last.clock >= ordered_[self] : last.clock > mine[first_ + writer])
        race(w, i, lane, "reads a write", g, last.thread);
    }
    if (proxy != Proxy::generic && last.clock && !last.async && last.thread / lanes < static_cast<uint32_t>(warps_) &&
        !fenced(static_cast<int>(last.thread / lanes), last.thread % lanes, last.clock))
      w.fail(i, "shared memory at " + std::to_string(shared_begin + g * 4) + " was written by thread " +
                    std::to_string(last.thread) + ", which has not executed fence.proxy.async since");
    uint32_t& seen = reads[g];
    const uint32_t when = seen >> lane_bits, who = seen & ((1u << lane_bits) - 1);
    if (proxy == Proxy::product && (when <= begin_ || who == by_product)) {
      seen = now << lane_bits | by_product;
      continue;
    }
    const bool others = when >= ordered_[self] && who != static_cast<uint32_t>(lane);
    seen = now << lane_bits | (others ? several : static_cast<uint32_t>(lane));
  }
}

void Shared::check_write(
    const Warp& w, const Instruction& i, int lane, uint32_t g, unsigned touched, const Write& last) const {
  const Clock& mine = w.block->shared.clock(w.index);
  const Clock& before = w.block->shared.before_[static_cast<size_t>(w.index)];
  // Accesses are recorded with thread numbers of this block. A thread of another block has none of them.
  const uint32_t self = is_mine(w) ? static_cast<uint32_t>(w.index) : ~0u,
                 thread = is_mine(w) ? self * lanes + static_cast<uint32_t>(lane) : ~0u;
  if (last.clock && last.thread != thread && (last.touched & touched)) {
    const uint32_t writer = last.thread / lanes;
    const size_t from = first_ + writer;
    const uint32_t known = last.async ? std::max(mine[from], before[from]) : mine[from];
    if (writer == self ? last.clock >= ordered_[self] : last.clock > known)
      race(w, i, lane, "overwrites a write", g, last.thread);
  }
  if (touched != 15)
    return;  // reads are recorded per 4 bytes, so a smaller write might not overlap the bytes that were read
  for (uint32_t r = 0; r < static_cast<uint32_t>(warps_); ++r) {
    const uint32_t seen = reads_[r][g], when = seen >> lane_bits, who = seen & ((1u << lane_bits) - 1);
    if (r == self && who == by_product) continue;  // the whole warp has waited for it
    const uint32_t known = who == by_product ? std::max(mine[first_ + r], before[first_ + r]) : mine[first_ + r];
    if (r == self ? when >= ordered_[self] && who != static_cast<uint32_t>(lane) : when > known)
      race(w, i, lane, "overwrites bytes without waiting for a read", g, r * lanes + who % lanes);
  }
}

void Shared::write(const Warp& w, const Instruction& i, int lane, uint32_t address, uint32_t bytes) {
  bounds(w, i, address, bytes);
  const uint32_t at = address - shared_begin;
  const auto thread = static_cast<uint16_t>(w.index * lanes + lane);
  const uint32_t now = time(w.index);
  for (uint32_t b = at; b < at + bytes; ++b) {
    if (states_[b] > written)
      w.fail(i, "shared memory at " + std::to_string(shared_begin + b) +
                    (states_[b] == flying ? " is being written by a copy that was not waited for"
                                          : " is an mbarrier object"));
    states_[b] = written;
  }
  const unsigned touched = bytes < 4 ? ((1u << bytes) - 1) << at % 4 : 15u;
  for (uint32_t g = at / 4; g <= (at + bytes - 1) / 4; ++g) {
    check_write(w, i, lane, g, touched, writes_[g]);
    writes_[g] = {now, thread, static_cast<unsigned char>(touched), 0, 0};
  }
}

void Shared::atomic(const Warp& w, const Instruction& i, int lane, uint32_t address, uint32_t bytes) {
  bounds(w, i, address, bytes);
  const uint32_t at = address - shared_begin;
  for (uint32_t b = at; b < at + bytes; ++b)
    if (states_[b] != written)
      w.fail(i, "an atomic in shared memory that is unwritten, in flight, or an mbarrier object");
  const uint32_t now = time(w.index);
  for (uint32_t g = at / 4; g <= (at + bytes - 1) / 4; ++g) {
    const Write& last = writes_[g];
    const Write plain = last.atomic ? Write{last.plain_clock, last.plain_thread, 15, last.plain_async} : last;
    check_write(w, i, lane, g, 15, plain);
    writes_[g] = {now, static_cast<uint16_t>(w.index * lanes + lane), 15, 0, 1, plain.async, plain.thread, plain.clock};
  }
}

void Shared::begin_copy(const Warp& w, const Instruction& i, int lane, uint32_t address, uint32_t bytes, Proxy proxy) {
  bounds(w, i, address, bytes);
  const uint32_t at = address - shared_begin;
  for (uint32_t b = at; b < at + bytes; ++b) {
    if (states_[b] > written)
      w.fail(i, "shared memory at " + std::to_string(shared_begin + b) +
                    (states_[b] == flying ? " is already being written by a copy" : " is an mbarrier object"));
    states_[b] = flying;
  }
  for (uint32_t g = at / 4; g <= (at + bytes - 1) / 4; ++g) {
    check_write(w, i, lane, g, 15, writes_[g]);
    const Write& last = writes_[g];
    if (proxy == Proxy::async && last.clock > begin_ && !last.async &&
        last.thread / lanes < static_cast<uint32_t>(warps_) &&
        !fenced(static_cast<int>(last.thread / lanes), last.thread % lanes, last.clock))
      w.fail(i, "shared memory at " + std::to_string(shared_begin + g * 4) + " was written by thread " +
                    std::to_string(last.thread) + ", which has not executed fence.proxy.async since");
  }
}

void Shared::end_copy(const Warp& w, int lane, uint32_t address, uint32_t bytes) {
  const uint32_t at = address - shared_begin;
  const uint32_t now = time(w.index);
  for (uint32_t b = at; b < at + bytes; ++b) states_[b] = written;
  for (uint32_t g = at / 4; g <= (at + bytes - 1) / 4; ++g)
    writes_[g] = {now, static_cast<uint16_t>(w.index * lanes + lane), 15, 0, 0};
}

void Shared::end_agent_copy(uint32_t address, uint32_t bytes, Clock& into) {
  tick(warps_);
  const uint32_t now = time(warps_);
  const uint32_t at = address - shared_begin;
  for (uint32_t b = at; b < at + bytes; ++b) states_[b] = written;
  for (uint32_t g = at / 4; g <= (at + bytes - 1) / 4; ++g)
    writes_[g] = {now, static_cast<uint16_t>(warps_ * lanes), 15, 1, 0};
  into[place(warps_)] = now;
  if (blocks_ > 1) copied_ = now;
}

Mbarrier& Shared::mbarrier(const Warp& w, const Instruction& i, uint32_t address) {
  if (address % 8) w.fail(i, "an mbarrier object must be aligned to 8 bytes");
  const auto found = mbarriers.find(address);
  if (found == mbarriers.end()) w.fail(i, "no mbarrier object was initialized at " + std::to_string(address));
  Mbarrier& m = found->second;
  const Shared& own = w.block->shared;
  const size_t from = place(m.init_warp);
  const uint32_t known = own.clock(w.index)[from];
  if (is_mine(w) && m.init_warp == w.index ? m.init_clock >= known && !(w.mask == 1u << m.init_lane)
                                           : m.init_clock > std::max(known, own.known_inits_[from]))
    w.fail(i, "the mbarrier object at " + std::to_string(address) + " is used before its initialization is visible");
  return m;
}

void Shared::init_mbarrier(const Warp& w, const Instruction& i, int lane, uint32_t address, uint32_t count) {
  if (address % 8) w.fail(i, "an mbarrier object must be aligned to 8 bytes");
  if (count == 0 || count >= 1u << 20)
    w.fail(i, "mbarrier.init: expected a count of 1 to 2^20 - 1, got " + std::to_string(count));
  bounds(w, i, address, 8);
  if (mbarriers.count(address)) w.fail(i, "an mbarrier object is initialized twice");
  write(w, i, lane, address, 8);
  std::fill_n(states_.begin() + (address - shared_begin), 8, object);
  Mbarrier& m = mbarriers[address];
  m.expected = m.pending = count;
  for (Clock* c : {&m.arriving, &m.completed, &m.far_arriving, &m.far_completed, &m.any_arriving, &m.any_completed,
           &m.touched, &m.awaited})
    c->assign(clocks_[0].size(), 0);
  m.init_warp = w.index, m.init_lane = lane;
  m.init_clock = time(w.index);
}

}  // namespace simulator
