#include "emulator/asynchronous_state.h"

#include <cstring>
#include <memory>

namespace heddle {
namespace emulator {

Asynchronous& asynchronous_state() {
  static auto& of_ranks = *new std::vector<std::unique_ptr<Asynchronous>>;
  const auto rank = static_cast<size_t>(running_rank());
  while (of_ranks.size() <= rank) of_ranks.push_back(std::make_unique<Asynchronous>());
  return *of_ranks[rank];
}

namespace {

// Completes a copy: writes its bytes, and subtracts their number from the bytes that the barrier still expects.
void land(const BoxCopy& c) {
  Asynchronous& s = asynchronous_state();
  const uint32_t size = c.map.element_bytes, of_piece = 16 / size, pieces = c.map.box[0] / of_piece;
  // The swizzle moves pieces of 16 bytes. Elements outside the tensor become zeros.
  const auto land_line = [&](uint32_t line, const char* row) {
    for (uint32_t p = 0; p < pieces; ++p) {
      char piece[16] = {};
      for (uint32_t e = 0; e < of_piece; ++e) {
        const int64_t column = c.at[0] + int64_t{p} * of_piece + e;
        if (row && column >= 0 && column < int64_t{c.map.dims[0]})
          std::memcpy(piece + size * e, row + size * column, size);
      }
      const uintptr_t to = c.to + (uintptr_t{line} * pieces + p) * 16;
      std::memcpy(shared_data(c.map.swizzled ? swizzle(to) : to), piece, 16);
    }
  };
  if (c.from) std::memcpy(shared_data(c.to), c.from, c.plain_bytes);
  else each_line(c.map, c.at, land_line);
  Barrier& b = s.barriers.at(c.barrier);
  for (uintptr_t g = c.to / granule_bytes; g * granule_bytes < c.to + c.bytes(); ++g) {
    s.granules[g].in_flight = false;
    s.granules[g].barrier = c.barrier, s.granules[g].phase = b.phase;
  }
  written_by_copy(shared_data(c.to), c.bytes());
  b.bytes -= static_cast<int64_t>(c.bytes());
  complete_if_done(b);
}

void land_number(size_t i) {
  Asynchronous& s = asynchronous_state();
  const BoxCopy c = s.copies[i];
  s.copies.erase(s.copies.begin() + static_cast<std::ptrdiff_t>(i));
  land(c);
}

}  // namespace

// ---- registers

namespace {

struct AtRegisters {
  int registers, line;
  bool take;
};

// Checks a setmaxnreg of a whole warp, and runs it if it is a .dec. All threads of a warp have the same number of
// registers, so counts are per thread. free_registers is the sum of the counts that warps have released.
void give_registers(void** lanes, uint32_t) {
  const AtRegisters& first = *static_cast<AtRegisters*>(lanes[0]);
  Asynchronous& s = asynchronous_state();
  s.used = true;
  Warp& w = my_warp();
  // At the launch, every thread gets an equal share of 65536 registers, rounded down to a multiple of 8. Kernels that
  // use setmaxnreg are compiled for this count.
  if (!w.registers) w.registers = 65536 / threads_of_block() / 8 * 8;
  if (first.take ? first.registers < w.registers : first.registers > w.registers)
    fatal(std::string("setmaxnreg.") + (first.take ? "inc" : "dec") + at(first.line) + " to " +
          std::to_string(first.registers) + " registers, of a warp that has " + std::to_string(w.registers));
  if (first.take) return;
  s.free_registers += w.registers - first.registers;
  w.registers = first.registers;
  for (int thread : s.waiting_for_registers) wake(thread);
  s.waiting_for_registers.clear();
}

}  // namespace

void set_registers(int registers, bool take, int line) {
  AtRegisters mine{registers, line, take};
  collective(0xffffffffu, take ? "setmaxnreg.inc" : "setmaxnreg.dec", line, &mine, give_registers);
  if (!take) return;
  Asynchronous& s = asynchronous_state();
  const size_t warp = static_cast<size_t>(warp_of(running_thread()));
  // The first lane that finds enough registers takes them for its warp.
  while (s.warps[warp].registers < registers && s.free_registers < registers - s.warps[warp].registers) {
    s.waiting_for_registers.push_back(running_thread());
    block_until_woken("setmaxnreg.inc", line);
  }
  if (s.warps[warp].registers >= registers) return;
  s.free_registers -= registers - s.warps[warp].registers;
  s.warps[warp].registers = registers;
  for (int thread : s.waiting_for_registers) wake(thread);
  s.waiting_for_registers.clear();
}

// ---- copies

namespace {
void start_copy(const BoxCopy& c, const Clock& known, int line);
}

void copy_bytes(void* to, const void* from, uint32_t bytes, void* barrier, int line) {
  BoxCopy c{shared_address(to), {}, {}, shared_address(barrier), static_cast<const char*>(from), bytes};
  if (bytes % 16 || reinterpret_cast<uintptr_t>(from) % 16)
    fatal("a misaligned bulk copy" + at(line) + " of " + std::to_string(bytes) + " bytes");
  if (!in_device(reinterpret_cast<uintptr_t>(from)) || !in_device(reinterpret_cast<uintptr_t>(from) + bytes - 1))
    fatal("a bulk copy" + at(line) + " from an address outside device memory");
  start_copy(c, my_warp().clock, line);
}

void copy_box(void* to, const void* map, uint32_t rank, const int32_t* coordinates, void* barrier, int line) {
  BoxCopy c{shared_address(to), tensor_map_of(map, rank, "a TMA copy", line), {}, shared_address(barrier)};
  std::copy(coordinates, coordinates + rank, c.at);
  start_copy(c, my_warp().clock, line);
}

void copy_box_to(
    void* to, const void* map, uint32_t rank, const int32_t* coordinates, void* barrier, uint32_t mask, int line) {
  BoxCopy c{shared_address(to), tensor_map_of(map, rank, "a TMA copy", line), {}, shared_address(barrier)};
  std::copy(coordinates, coordinates + rank, c.at);
  if (mask == 0 || mask >> 16) fatal("a TMA copy" + at(line) + " with the invalid block mask " + std::to_string(mask));
  const Warp& w = my_warp();
  for (uint32_t block = 0; mask >> block; ++block) {
    if (!(mask >> block & 1)) continue;
    check_peer(block, "a TMA copy", line);
    const InBlock in(static_cast<int>(block));
    start_copy(c, w.clock, line);
  }
}

TensorMap tensor_map_of(const void* map, uint32_t rank, const char* what, int line) {
  TensorMap found;
  std::memcpy(&found, map, sizeof found);
  if (found.magic != TensorMap::valid) fatal(what + at(line) + " with an invalid tensor map");
  if (found.rank != rank)
    fatal(what + at(line) + " of " + std::to_string(rank) + " dimensions with a map of " + std::to_string(found.rank));
  return found;
}

namespace {

// Starts the part of a copy that writes to the current block. `known` is the clock of the warp that copies.
void start_copy(const BoxCopy& c, const Clock& known, int line) {
  check_waited();
  Asynchronous& s = asynchronous_state();
  if (!find(c.barrier, known, "a TMA copy", line).fenced)
    fatal("a TMA copy" + at(line) + " with a barrier whose initialization is not followed by fence.proxy.async");
  if (c.to % granule_bytes) fatal("a TMA copy" + at(line) + " to an address that is not a multiple of 128");
  if (c.to + c.bytes() > shared_capacity()) fatal("a TMA copy" + at(line) + " beyond shared memory");
  for (uintptr_t number = c.to / granule_bytes; number * granule_bytes < c.to + c.bytes(); ++number) {
    Granule& g = s.granules[number];
    if (g.in_flight) fatal("a TMA copy" + at(line) + " to the destination of another one in flight");
    if (g.reading) fatal("a TMA copy" + at(line) + " over a tile that a wgmma reads");
    for (size_t i = 0; i < s.warps.size(); ++i)
      if (g.read[i] > known[s.first + i])
        fatal("a TMA copy" + at(line) + " over a tile that warp " + std::to_string(i) + " may still read");
    g.in_flight = true;
  }
  std::memset(shared_data(c.to), 0xff, c.bytes());  // NaN, because the copy may land at any time from now on
  s.copies.push_back(c);
  if (completes_immediately()) land_number(s.copies.size() - 1);
}

}  // namespace

// ---- called by the executor (executor.h)

void begin_asynchronous(int warps) {
  Asynchronous& s = asynchronous_state();
  const size_t granules = shared_capacity() / granule_bytes + 1;
  // Most kernels do not use the asynchronous units. Their blocks share one state.
  const auto blocks = static_cast<size_t>(blocks_of_cluster()), each = static_cast<size_t>(warps);
  if (!s.used && s.warps.size() == each && s.granules.size() == granules && s.left.size() == blocks * each) return;
  s = Asynchronous{};
  s.used = blocks > 1;
  s.first = static_cast<size_t>(running_rank()) * each;
  s.left.assign(blocks * each, 0);
  s.touched = s.left;
  s.warps.resize(each);
  for (size_t i = 0; i < each; ++i) {
    s.warps[i].clock = s.left;
    s.warps[i].clock[s.first + i] = 1;
  }
  s.granules.resize(granules);
  s.requests.resize(s.warps.size() / 4 + 1);
}

void synchronise_clocks() {
  Asynchronous& s = asynchronous_state();
  if (!s.used) return;
  Clock all(s.left.size(), 0);
  for (const Warp& w : s.warps) join(all, w.clock);
  for (size_t i = 0; i < s.warps.size(); ++i) s.warps[i].clock = all, ++s.warps[i].clock[s.first + i];
}

void synchronise_cluster() {
  Clock all(asynchronous_state().left.size(), 0);
  for (int rank = 0; rank < blocks_of_cluster(); ++rank) {
    const InBlock in(rank);
    for (const Warp& w : asynchronous_state().warps) join(all, w.clock);
  }
  for (int rank = 0; rank < blocks_of_cluster(); ++rank) {
    const InBlock in(rank);
    Asynchronous& s = asynchronous_state();
    for (size_t i = 0; i < s.warps.size(); ++i) s.warps[i].clock = all, ++s.warps[i].clock[s.first + i];
  }
}

void thread_ended() {
  if (blocks_of_cluster() == 1) return;
  Asynchronous& s = asynchronous_state();
  join(s.left, my_warp().clock);
  if (!has_ended()) return;
  if (!s.copies.empty()) fatal("a block ends while a TMA copy is in flight");
  for (size_t i = 0; i < s.touched.size(); ++i)
    if (s.touched[i] > s.left[i])
      fatal("block " + std::to_string(running_rank()) + " of the cluster may end before warp " +
            std::to_string(i % s.warps.size()) + " of block " + std::to_string(i / s.warps.size()) +
            " arrives at its barrier");
}

namespace {
// Wakes a thread that waits for its bulk writes. The thread then completes them itself.
void end_writes() {
  std::vector<int>& threads = asynchronous_state().waiting_for_writes;
  const auto ended = threads.begin() + static_cast<std::ptrdiff_t>(random_below(threads.size()));
  wake(*ended);
  threads.erase(ended);
}
}  // namespace

bool complete_one_async() {
  Asynchronous& s = asynchronous_state();
  // Copies land before writes complete. Unless the order is random, the newest copy lands first.
  if (!s.copies.empty()) land_number(is_random() ? random_below(s.copies.size()) : s.copies.size() - 1);
  else if (!s.waiting_for_writes.empty()) end_writes();
  else return false;
  return true;
}

void maybe_complete_async() {
  Asynchronous& s = asynchronous_state();
  if (!is_random()) return;
  if (!s.copies.empty() && random_below(8) == 0) land_number(random_below(s.copies.size()));
  if (!s.waiting_for_writes.empty() && random_below(8) == 0) end_writes();
}

std::string unfinished() {
  const Asynchronous& s = asynchronous_state();
  if (!s.used) return "";
  const std::string writes = drain_writes();
  if (!writes.empty()) return writes;
  if (!s.copies.empty()) return "a block ends while a TMA copy is in flight";
  for (size_t i = 0; i < s.warps.size(); ++i) {
    const Warp& w = s.warps[i];
    if (!w.open.empty() || !w.committed.empty())
      return "a block ends with a wgmma that warp " + std::to_string(i) + " has not waited for";
    if (w.products != s.requests[i / 4].size())
      return "a block ends with a wgmma that warp " + std::to_string(i) + " did not participate in";
  }
  for (const auto& [address, b] : s.barriers)
    if (b.bytes != 0) return "a block ends with a barrier that still expects " + std::to_string(b.bytes) + " bytes";
  for (const NamedBarrier& b : s.named)
    if (b.threads)
      return "a block ends with a named barrier (line " + std::to_string(b.line) + ") that " +
             std::to_string(b.arrived) + " of " + std::to_string(b.threads) + " threads have reached";
  return "";
}

uint32_t warp_time() {
  const Asynchronous& s = asynchronous_state();
  return s.used ? my_warp().clock[place(warp_of(running_thread()))] : 0;
}

bool warp_knows(int thread, uint32_t time) {
  const Asynchronous& s = asynchronous_state();
  return s.used && time > 0 && my_warp().clock[place(warp_of(thread))] >= time;
}

bool is_written_asynchronously(uintptr_t address) {
  const Asynchronous& s = asynchronous_state();
  return s.used && address / granule_bytes < s.granules.size() && s.granules[address / granule_bytes].in_flight;
}

bool is_read_asynchronously(uintptr_t address) {
  const Asynchronous& s = asynchronous_state();
  if (!s.used || address / granule_bytes >= s.granules.size()) return false;
  const Granule& g = s.granules[address / granule_bytes];
  if (g.reading > 0) return true;
  const Clock& known = my_warp().clock;
  for (size_t i = 0; i < s.warps.size(); ++i)
    if (g.read[i] > known[s.first + i]) return true;
  return false;
}

}  // namespace emulator
}  // namespace heddle
