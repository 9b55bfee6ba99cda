#include "emulator/asynchronous.h"

#include <algorithm>
#include <cstring>
#include <deque>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "cuda.h"
#include "emulator/emulator.h"
#include "emulator/executor.h"
#include "emulator/race.h"
#include "runtime/tensor.h"

namespace heddle {
namespace emulator {
namespace {

constexpr int most_warps = 32, warp_size = 32;
constexpr uintptr_t granule_bytes = 128;  // a line of a swizzled tile

using Clock = std::vector<uint32_t>;  // per warp: how much of its past is known

void join(Clock& to, const Clock& from) {
  for (size_t i = 0; i < to.size(); ++i) to[i] = std::max(to[i], from[i]);
}

struct Barrier {
  uint32_t count, pending;
  int64_t bytes = 0;   // expected, less those that have come
  uint32_t phase = 0;  // the first that is not complete
  Clock arriving, completed;
  int owner;           // the warp that made it, and when
  uint32_t since;
  bool fenced = false;
  std::vector<int> waiting;
};

struct Granule {
  bool in_flight = false;
  uintptr_t barrier = 0;  // of the last copy to it, if any
  uint32_t phase = 0;
  int reading = 0;        // products under way
  uint32_t read[most_warps] = {};  // when each warp's last product ended
};

struct Copy {
  uintptr_t to;
  TensorMap map;
  int32_t at[4];
  uintptr_t barrier;
  size_t bytes() const { return size_t{map.box[0]} * map.box[1] * map.box[2] * map.box[3] * 2; }
};

struct Product {
  WarpgroupProduct lanes[warp_size];
  uint32_t left[warp_size][4];  // as the lanes' registers were
  std::vector<uintptr_t> granules;
  bool done = false;
  std::vector<float>* sums;  // (16, n)
};

struct Warp {
  Clock clock;
  std::map<uintptr_t, uint32_t> seen;  // per barrier: phases known to be complete
  bool fenced = false;
  std::vector<Product> open;
  std::deque<std::vector<Product>> committed;
  std::map<float*, std::vector<float>> sums;  // under way, by lane 0's
  size_t products = 0;
};

struct State {
  std::vector<Warp> warps;
  std::map<uintptr_t, Barrier> barriers;
  std::vector<Granule> granules;
  std::vector<Copy> copies;                        // under way
  std::vector<std::vector<WarpgroupProduct>> asked;  // per warpgroup: what its first warp to come asked for
  bool used = false;
};

State& state() {
  static State& s = *new State;
  return s;
}

int warp_of(int thread) { return thread / warp_size; }
Warp& my_warp() { return state().warps[static_cast<size_t>(warp_of(running_thread()))]; }
std::string at(int line) { return " at line " + std::to_string(line); }

Barrier& find(void* barrier, const char* what, int line) {
  State& s = state();
  const auto found = s.barriers.find(shared_address(barrier));
  if (found == s.barriers.end()) fatal(std::string(what) + at(line) + " of a barrier that is not initialised");
  Barrier& b = found->second;
  if (my_warp().clock[static_cast<size_t>(b.owner)] < b.since)
    fatal(std::string(what) + at(line) + " of a barrier whose initialisation nothing orders before");
  return b;
}

void complete_if_done(Barrier& b) {
  if (b.pending > 0 || b.bytes != 0) return;
  ++b.phase;
  b.pending = b.count;
  b.completed = b.arriving;
  for (int thread : b.waiting) wake(thread);
  b.waiting.clear();
}

uintptr_t swizzle(uintptr_t address) { return address ^ (address >> 3 & 0x70); }

void land(const Copy& c) {
  State& s = state();
  const uint32_t *box = c.map.box, pieces = box[0] / 8;
  for (uint32_t line = 0; line < box[1] * box[2] * box[3]; ++line) {
    const int64_t outer[3] = {c.at[1] + int64_t{line % box[1]}, c.at[2] + int64_t{line / box[1] % box[2]}, c.at[3] + int64_t{line / box[1] / box[2]}};
    bool inside = true;
    const char* from = c.map.data;
    for (int i = 0; i < 3; ++i) {
      inside = inside && outer[i] >= 0 && outer[i] < int64_t{c.map.dims[i + 1]};
      from += outer[i] * static_cast<int64_t>(c.map.strides[i]);
    }
    for (uint32_t p = 0; p < pieces; ++p) {
      char piece[16] = {};
      for (int e = 0; e < 8; ++e) {
        const int64_t column = c.at[0] + int64_t{p} * 8 + e;
        if (inside && column >= 0 && column < int64_t{c.map.dims[0]}) std::memcpy(piece + 2 * e, from + 2 * column, 2);
      }
      const uintptr_t to = c.to + (uintptr_t{line} * pieces + p) * 16;
      std::memcpy(shared_data(c.map.swizzled ? swizzle(to) : to), piece, 16);
    }
  }
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
  State& s = state();
  const Copy c = s.copies[i];
  s.copies.erase(s.copies.begin() + static_cast<std::ptrdiff_t>(i));
  land(c);
}

// ---- products -----------------------------------------------------------------------------------------------------------------

// A matrix descriptor ("Parallel Thread Execution ISA", 9.7.15.5.1.2.2): where element (i, k) lies, i being a row of a or a column of b.
struct Descriptor {
  uintptr_t start, leading, stride;
  bool transposed;  // i innermost

  Descriptor(uint64_t bits, bool turned, int line) : start((bits & 0x3fff) << 4), leading((bits >> 16 & 0x3fff) << 4), stride((bits >> 32 & 0x3fff) << 4), transposed(turned) {
    if (bits >> 62 != 1) fatal("wgmma" + at(line) + ": expected a descriptor of the 128-byte swizzle, got mode " + std::to_string(bits >> 62));
    if (bits >> 49 & 7) fatal("wgmma" + at(line) + ": expected a descriptor without base offset");
    if (bits & 0x3fffc000c000c000) fatal("wgmma" + at(line) + ": a descriptor with bits that mean nothing");
  }
  uintptr_t operator()(int i, int k) const {
    const uintptr_t a = static_cast<uintptr_t>(i), b = static_cast<uintptr_t>(k);
    return swizzle(transposed ? start + a / 64 * leading + a % 64 * 2 + b / 8 * stride + b % 8 * 128 : start + a / 8 * stride + a % 8 * 128 + b * 2);
  }
};

float element(uintptr_t address) {
  uint16_t bits;
  std::memcpy(&bits, shared_data(address), 2);
  return to_float(bf16{bits});
}

// The warp's 16 of the 64 rows.
void compute(Product& p, int warp) {
  if (p.done) return;
  p.done = true;
  const WarpgroupProduct& w = p.lanes[0];
  const Descriptor b(w.b, w.b_transposed, 0);
  const int n = w.n;
  float left[16][16];
  std::vector<float> right(static_cast<size_t>(16 * n));
  if (w.left) {
    // Figure "WGMMA .m64nNk16 register fragment layout for matrix A": register r of lane i holds row i / 4 + 8 (r % 2) of the warp's 16 and
    // columns 2 (i % 4) + 8 (r / 2) and the next.
    for (int lane = 0; lane < warp_size; ++lane)
      for (int r = 0; r < 4; ++r)
        for (int e = 0; e < 2; ++e)
          left[lane / 4 + r % 2 * 8][lane % 4 * 2 + r / 2 * 8 + e] = to_float(bf16{static_cast<uint16_t>(p.left[lane][r] >> 16 * e)});
  } else {
    const Descriptor a(w.a, w.a_transposed, 0);
    for (int i = 0; i < 16; ++i)
      for (int k = 0; k < 16; ++k) left[i][k] = element(a(warp % 4 * 16 + i, k));
  }
  for (int j = 0; j < n; ++j)
    for (int k = 0; k < 16; ++k) right[static_cast<size_t>(k * n + j)] = element(b(j, k));
  for (int i = 0; i < 16; ++i) {
    float* sums = p.sums->data() + i * n;
    if (!w.add) std::fill(sums, sums + n, 0.0f);
    for (int k = 0; k < 16; ++k) {
      const float l = left[i][k], *r = right.data() + k * n;
      for (int j = 0; j < n; ++j) sums[j] += l * r[j];
    }
  }
}

// Figure "WGMMA .m64nNk16 register fragment layout for accumulator matrix D": register r of lane i holds row i / 4 + 8 ((r / 2) % 2) of
// the warp's 16 and column 8 (r / 4) + 2 (i % 4) + r % 2.
template <class F> void each_sum(const Product& p, F use) {
  const int n = p.lanes[0].n;
  for (int lane = 0; lane < warp_size; ++lane)
    for (int r = 0; r < n / 2; ++r) use(p.lanes[lane].sums[r], (*p.sums)[static_cast<size_t>((lane / 4 + r / 2 % 2 * 8) * n + r / 4 * 8 + lane % 4 * 2 + r % 2)]);
}

void check_reads(Product& p, int warp, int line) {
  State& s = state();
  Warp& w = s.warps[static_cast<size_t>(warp)];
  const WarpgroupProduct& lane = p.lanes[0];
  const Descriptor b(lane.b, lane.b_transposed, line);
  std::vector<uintptr_t> found;
  found.reserve(static_cast<size_t>(16 * (16 + lane.n)));
  const auto read = [&](uintptr_t address) {
    if (address + 2 > shared_capacity()) fatal("wgmma" + at(line) + " reads beyond shared memory");
    found.push_back(address / granule_bytes);
  };
  for (int k = 0; k < 16; ++k)
    for (int j = 0; j < lane.n; ++j) read(b(j, k));
  if (!lane.left) {
    const Descriptor a(lane.a, lane.a_transposed, line);
    for (int k = 0; k < 16; ++k)
      for (int i = 0; i < 16; ++i) read(a(warp % 4 * 16 + i, k));
  }
  std::sort(found.begin(), found.end());
  found.erase(std::unique(found.begin(), found.end()), found.end());
  for (uintptr_t number : found) {
    Granule& g = s.granules[number];
    if (g.in_flight) fatal("wgmma" + at(line) + " reads a tile that a copy is still writing");
    if (g.barrier && w.seen[g.barrier] <= g.phase) fatal("wgmma" + at(line) + " reads a tile whose barrier this warp has not waited for");
    check_async_read(shared_data(number * granule_bytes), granule_bytes);
    ++g.reading;
  }
  p.granules = std::move(found);
}

void issue(void** lanes, int line) {
  State& s = state();
  const int warp = warp_of(running_thread());
  Warp& w = s.warps[static_cast<size_t>(warp)];
  if (!w.fenced) fatal("wgmma" + at(line) + " without a wgmma.fence since sums were last touched");
  Product p;
  for (int i = 0; i < warp_size; ++i) {
    p.lanes[i] = *static_cast<WarpgroupProduct*>(lanes[i]);
    if (p.lanes[i].left) std::copy(p.lanes[i].left, p.lanes[i].left + 4, p.left[i]);
  }
  const WarpgroupProduct& first = p.lanes[0];
  const auto same = [](const WarpgroupProduct& x, const WarpgroupProduct& y) {
    return x.a == y.a && x.b == y.b && x.n == y.n && x.a_transposed == y.a_transposed && x.b_transposed == y.b_transposed && x.add == y.add && !x.left == !y.left;
  };
  for (const WarpgroupProduct& lane : p.lanes)
    if (!same(lane, first)) fatal("wgmma" + at(line) + ": lanes of a warp that ask for different products");
  auto& asked = s.asked[static_cast<size_t>(warp / 4)];
  if (w.products == asked.size()) asked.push_back(first);
  else if (!same(asked[w.products], first)) fatal("wgmma" + at(line) + ": warps of a warpgroup that ask for different products");
  ++w.products;
  check_reads(p, warp, line);
  auto& sums = w.sums[first.sums];
  p.sums = &sums;
  if (sums.empty()) {
    sums.resize(static_cast<size_t>(16 * first.n));
    each_sum(p, [](float& of_lane, float& kept) { kept = of_lane, of_lane = std::numeric_limits<float>::quiet_NaN(); });
  }
  if (now_rather_than_later()) {
    for (auto& group : w.committed)
      for (Product& earlier : group) compute(earlier, warp);
    for (Product& earlier : w.open) compute(earlier, warp);
    compute(p, warp);
  }
  w.open.push_back(std::move(p));
}

void retire(int pending) {
  State& s = state();
  const int warp = warp_of(running_thread());
  Warp& w = s.warps[static_cast<size_t>(warp)];
  while (static_cast<int>(w.committed.size()) > pending) {
    std::vector<Product> group = std::move(w.committed.front());
    w.committed.pop_front();
    for (Product& p : group) {
      compute(p, warp);
      for (int i = 0; p.lanes[0].left && i < warp_size; ++i)
        if (!std::equal(p.left[i], p.left[i] + 4, p.lanes[i].left)) fatal("registers of a wgmma changed while it may read them");
      for (uintptr_t number : p.granules) {
        --s.granules[number].reading;
        s.granules[number].read[warp] = w.clock[static_cast<size_t>(warp)];
      }
      const auto uses = [&](const Product& other) { return other.lanes[0].sums == p.lanes[0].sums; };
      bool last = &p == &group.back() || std::none_of(&p + 1, group.data() + group.size(), uses);
      for (const auto& later : w.committed) last = last && std::none_of(later.begin(), later.end(), uses);
      if (!last || std::any_of(w.open.begin(), w.open.end(), uses)) continue;
      each_sum(p, [](float& of_lane, float& kept) { of_lane = kept; });
      w.sums.erase(p.lanes[0].sums);
    }
  }
  w.fenced = false;
}

}  // namespace

// ---- barriers -------------------------------------------------------------------------------------------------------------------

void init_barrier(void* barrier, uint32_t count, int line) {
  State& s = state();
  const uintptr_t address = shared_address(barrier);
  if (address % 8) fatal("mbarrier.init" + at(line) + " of a misaligned barrier");
  if (count < 1 || count >= 1u << 20) fatal("mbarrier.init" + at(line) + ": expected a count of 1 to 2^20 - 1, got " + std::to_string(count));
  if (s.barriers.count(address)) fatal("mbarrier.init" + at(line) + " of a barrier that is in use");
  const int warp = warp_of(running_thread());
  Barrier b{};
  b.count = b.pending = count;
  b.owner = warp, b.since = my_warp().clock[static_cast<size_t>(warp)];
  b.arriving = b.completed = Clock(s.warps.size(), 0);
  s.barriers.emplace(address, std::move(b));
  s.used = true;
}

void fence_async() {
  count_proxy_fence();
  for (auto& [address, b] : state().barriers)
    if (b.owner == warp_of(running_thread())) b.fenced = true;
}

void arrive(void* barrier, uint32_t expected_bytes, int line) {
  Barrier& b = find(barrier, "mbarrier.arrive", line);
  if (b.pending == 0) fatal("mbarrier.arrive" + at(line) + ": more arrivals than the barrier's count");
  Warp& w = my_warp();
  join(b.arriving, w.clock);
  ++w.clock[static_cast<size_t>(warp_of(running_thread()))];
  b.bytes += expected_bytes;
  --b.pending;
  complete_if_done(b);
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

// ---- copies ---------------------------------------------------------------------------------------------------------------------

void copy_box(void* to, const void* map, uint32_t rank, const int32_t* coordinates, void* barrier, int line) {
  State& s = state();
  Copy c{shared_address(to), {}, {}, shared_address(barrier)};
  std::memcpy(&c.map, map, sizeof c.map);
  std::copy(coordinates, coordinates + rank, c.at);
  if (c.map.magic != TensorMap::valid) fatal("a copy by TMA" + at(line) + " with something that is no tensor map");
  if (c.map.rank != rank) fatal("a copy by TMA" + at(line) + " of " + std::to_string(rank) + " dimensions with a map of " + std::to_string(c.map.rank));
  if (!find(barrier, "a copy by TMA", line).fenced) fatal("a copy by TMA" + at(line) + " with a barrier whose initialisation no fence.proxy.async follows");
  if (c.to % granule_bytes) fatal("a copy by TMA" + at(line) + " to an address that 128 does not divide");
  if (c.to + c.bytes() > shared_capacity()) fatal("a copy by TMA" + at(line) + " beyond shared memory");
  const Warp& w = my_warp();
  for (uintptr_t number = c.to / granule_bytes; number * granule_bytes < c.to + c.bytes(); ++number) {
    Granule& g = s.granules[number];
    if (g.in_flight) fatal("a copy by TMA" + at(line) + " to where another one is under way");
    if (g.reading) fatal("a copy by TMA" + at(line) + " over a tile that a wgmma reads");
    for (size_t i = 0; i < s.warps.size(); ++i)
      if (g.read[i] > w.clock[i]) fatal("a copy by TMA" + at(line) + " over a tile of which nothing says that warp " + std::to_string(i) + " is done with it");
    g.in_flight = true;
  }
  std::memset(shared_data(c.to), 0xff, c.bytes());  // it may begin to land from now on
  s.copies.push_back(c);
  if (now_rather_than_later()) land_number(s.copies.size() - 1);
}

// ---- warpgroups -----------------------------------------------------------------------------------------------------------------

// .sync.aligned: the lanes of a warp meet. `mine` is each lane's operand.
static void meet(const char* name, int line, void* mine, Compute compute) { collective(0xffffffffu, name, line, mine, compute); }

struct At {
  WarpgroupProduct product;
  int number;  // the line, or what to leave pending
};

void warpgroup_fence(int line) {
  meet("wgmma.fence", line, nullptr, [](void**, uint32_t) { my_warp().fenced = true; });
}

void warpgroup_product(const WarpgroupProduct& lane, int line) {
  if (reinterpret_cast<uintptr_t>(lane.sums) == 0 || lane.n % 8 || lane.n < 8 || lane.n > 256) fatal("wgmma" + at(line) + ": a shape that it does not have");
  At mine{lane, line};
  meet("wgmma.mma_async", line, &mine, [](void** lanes, uint32_t) { issue(lanes, static_cast<At*>(lanes[0])->number); });
}

void warpgroup_commit(int line) {
  meet("wgmma.commit_group", line, nullptr, [](void**, uint32_t) {
    Warp& w = my_warp();
    w.committed.push_back(std::move(w.open));
    w.open.clear();
  });
}

void warpgroup_wait(int pending, int line) {
  At mine{{}, pending};
  meet("wgmma.wait_group", line, &mine, [](void** lanes, uint32_t) { retire(static_cast<At*>(lanes[0])->number); });
}

// ---- from the executor ------------------------------------------------------------------------------------------------------------

void begin_asynchronous(int warps) {
  State& s = state();
  const size_t granules = shared_capacity() / granule_bytes + 1;
  if (!s.used && s.warps.size() == static_cast<size_t>(warps) && s.granules.size() == granules) return;  // most kernels have no use for any of this
  s = State{};
  s.warps.resize(static_cast<size_t>(warps));
  for (size_t i = 0; i < s.warps.size(); ++i) {
    s.warps[i].clock.assign(s.warps.size(), 0);
    s.warps[i].clock[i] = 1;
  }
  s.granules.resize(granules);
  s.asked.resize(s.warps.size() / 4 + 1);
}

void synchronise_clocks() {
  State& s = state();
  if (!s.used) return;
  Clock all(s.warps.size(), 0);
  for (const Warp& w : s.warps) join(all, w.clock);
  for (size_t i = 0; i < s.warps.size(); ++i) s.warps[i].clock = all, ++s.warps[i].clock[i];
}

bool land_something() {
  State& s = state();
  if (s.copies.empty()) return false;
  land_number(draws() ? draw(s.copies.size()) : s.copies.size() - 1);  // the oldest as late as can be
  return true;
}

void maybe_land() {
  State& s = state();
  if (!s.copies.empty() && draws() && draw(8) == 0) land_number(draw(s.copies.size()));
}

std::string unfinished() {
  const State& s = state();
  if (!s.used) return "";
  if (!s.copies.empty()) return "a block ends with a copy by TMA under way";
  for (size_t i = 0; i < s.warps.size(); ++i) {
    const Warp& w = s.warps[i];
    if (!w.open.empty() || !w.committed.empty()) return "a block ends with a wgmma that warp " + std::to_string(i) + " has not waited for";
    if (w.products != s.asked[i / 4].size()) return "a block ends with a wgmma that warp " + std::to_string(i) + " has not taken part in";
  }
  for (const auto& [address, b] : s.barriers)
    if (b.bytes != 0) return "a block ends with a barrier that still expects " + std::to_string(b.bytes) + " bytes";
  return "";
}

bool is_read_asynchronously(uintptr_t address) {
  const State& s = state();
  return s.used && address / granule_bytes < s.granules.size() && s.granules[address / granule_bytes].reading > 0;
}

}  // namespace emulator
}  // namespace heddle
