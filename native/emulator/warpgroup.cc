// Emulates wgmma: its descriptors and fragments, and the times when it reads tiles and writes accumulators.
#include <cstring>
#include <limits>

#include "emulator/asynchronous_state.h"
#include "emulator/observer.h"
#include "ops/fp8.h"
#include "core/tensor.h"

namespace heddle {
namespace emulator {
namespace {

constexpr uintptr_t piece_bytes = 16;  // the unit that a swizzle moves

// A matrix descriptor ("Parallel Thread Execution ISA", section 9.7.15.5.1.2.2). It maps element (i, k) to its address.
// i is a row of a or a column of b.
struct Descriptor {
  uintptr_t start, leading, stride;
  bool transposed;  // MN-major
  uintptr_t size;   // bytes per element

  Descriptor(uint64_t bits, bool turned, bool bytes, int line)
      : start((bits & 0x3fff) << 4), leading((bits >> 16 & 0x3fff) << 4), stride((bits >> 32 & 0x3fff) << 4),
        transposed(turned), size(bytes ? 1 : 2) {
    if (bits >> 62 != 1)
      fatal("wgmma" + at(line) + ": expected a descriptor of the 128-byte swizzle, got mode " +
            std::to_string(bits >> 62));
    if (bits >> 49 & 7) fatal("wgmma" + at(line) + ": expected a descriptor without base offset");
    if (bits & 0x3fffc000c000c000) fatal("wgmma" + at(line) + ": expected zeros in the descriptor's reserved bits");
  }
  uintptr_t operator()(int i, int k) const {
    const uintptr_t a = static_cast<uintptr_t>(i), b = static_cast<uintptr_t>(k);
    return swizzle(transposed ? start + a / 64 * leading + a % 64 * 2 + b / 8 * stride + b % 8 * 128
                              : start + a / 8 * stride + a % 8 * 128 + b * size);
  }
};

float element(uintptr_t address, bool e4m3) {
  if (e4m3) return e4m3_to_float(static_cast<uint8_t>(*shared_data(address)));
  uint16_t bits;
  std::memcpy(&bits, shared_data(address), 2);
  return to_float(bf16{bits});
}

int depth_of(const WarpgroupProduct& w) { return w.e4m3 ? 32 : 16; }

// Computes the 16 rows of a warp, unless this has been done.
void compute(Product& p, int warp) {
  if (p.done) return;
  p.done = true;
  const WarpgroupProduct& w = p.lanes[0];
  const Descriptor b(w.b, w.b_transposed, w.e4m3, 0);
  const int n = w.n, depth = depth_of(w);
  float left[16][32];
  std::vector<float> right(static_cast<size_t>(depth * n));
  if (w.left) {
    // Figure "WGMMA .m64nNk16 register fragment layout for matrix A". Register r of lane i holds two elements of a row.
    // The row is i / 4 + 8 (r % 2) of the warp's 16. The columns are c and c + 1 with c = 2 (i % 4) + 8 (r / 2).
    for (int lane = 0; lane < warp_lanes; ++lane)
      for (int r = 0; r < 4; ++r)
        for (int e = 0; e < 2; ++e)
          left[lane / 4 + r % 2 * 8][lane % 4 * 2 + r / 2 * 8 + e] =
              to_float(bf16{static_cast<uint16_t>(p.left[lane][r] >> 16 * e)});
  } else {
    const Descriptor a(w.a, w.a_transposed, w.e4m3, 0);
    for (int i = 0; i < 16; ++i)
      for (int k = 0; k < depth; ++k) left[i][k] = element(a(warp % 4 * 16 + i, k), w.e4m3);
  }
  for (int j = 0; j < n; ++j)
    for (int k = 0; k < depth; ++k) right[static_cast<size_t>(k * n + j)] = element(b(j, k), w.e4m3);
  for (int i = 0; i < 16; ++i) {
    float* sums = p.sums->data() + i * n;
    if (!w.add) std::fill(sums, sums + n, 0.0f);
    for (int k = 0; k < depth; ++k) {
      const float l = left[i][k], *r = right.data() + k * n;
      for (int j = 0; j < n; ++j) sums[j] += l * r[j];
    }
  }
}

// Figure "WGMMA .m64nNk16 register fragment layout for accumulator matrix D". Register r of lane i holds one element.
// Its row is i / 4 + 8 ((r / 2) % 2) of the warp's 16. Its column is 8 (r / 4) + 2 (i % 4) + r % 2.
// Calls use(accumulator of the lane, element of p.sums) for each.
template <class F> void each_sum(const Product& p, F use) {
  const int n = p.lanes[0].n;
  for (int lane = 0; lane < warp_lanes; ++lane)
    for (int r = 0; r < n / 2; ++r)
      use(p.lanes[lane].sums[r],
          (*p.sums)[static_cast<size_t>((lane / 4 + r / 2 % 2 * 8) * n + r / 4 * 8 + lane % 4 * 2 + r % 2)]);
}

// Checks that the warp may read the tiles of the product, and records which granules it reads.
void check_reads(Product& p, int warp, int line) {
  Asynchronous& s = asynchronous_state();
  Warp& w = s.warps[static_cast<size_t>(warp)];
  const WarpgroupProduct& lane = p.lanes[0];
  const Descriptor b(lane.b, lane.b_transposed, lane.e4m3, line);
  const int depth = depth_of(lane);
  // The checks are per piece of 16 bytes, because the swizzle moves whole pieces.
  std::vector<uintptr_t> pieces, found;
  const auto read = [&](uintptr_t address) {
    if (address + piece_bytes > shared_capacity()) fatal("wgmma" + at(line) + " reads beyond shared memory");
    pieces.push_back(address);
    found.push_back(address / granule_bytes);
  };
  const auto read_all = [&](const Descriptor& of, int first, int count) {
    const int of_piece = static_cast<int>(piece_bytes / of.size), step = of.transposed ? of_piece : 1;
    for (int i = 0; i < count; i += step)
      for (int k = 0; k < depth; k += of.transposed ? 1 : of_piece) read(of(first + i, k));
  };
  read_all(b, 0, lane.n);
  if (!lane.left) read_all(Descriptor(lane.a, lane.a_transposed, lane.e4m3, line), warp % 4 * 16, 16);
  std::sort(found.begin(), found.end());
  found.erase(std::unique(found.begin(), found.end()), found.end());
  for (uintptr_t number : found) {
    Granule& g = s.granules[number];
    if (g.in_flight) fatal("wgmma" + at(line) + " reads a tile that a copy is still writing");
    if (g.barrier && w.seen[g.barrier] <= g.phase)
      fatal("wgmma" + at(line) + " reads a tile whose barrier this warp has not waited for");
    ++g.reading;
  }
  for (uintptr_t address : pieces) check_async_read(shared_data(address), piece_bytes);
  p.granules = std::move(found);
}

// Issues a product of the running warp. Its accumulators become NaN until retire() writes them.
void issue(void** lanes, int line) {
  Asynchronous& s = asynchronous_state();
  const int warp = warp_of(running_thread());
  Warp& w = s.warps[static_cast<size_t>(warp)];
  if (!w.fenced) fatal("wgmma" + at(line) + " without a wgmma.fence since its registers were last accessed");
  Product p;
  for (int i = 0; i < warp_lanes; ++i) {
    p.lanes[i] = *static_cast<WarpgroupProduct*>(lanes[i]);
    if (p.lanes[i].left) std::copy(p.lanes[i].left, p.lanes[i].left + 4, p.left[i]);
  }
  const WarpgroupProduct& first = p.lanes[0];
  const auto same = [](const WarpgroupProduct& x, const WarpgroupProduct& y) {
    return x.a == y.a && x.b == y.b && x.n == y.n && x.a_transposed == y.a_transposed &&
           x.b_transposed == y.b_transposed && x.add == y.add && !x.left == !y.left && x.e4m3 == y.e4m3;
  };
  for (const WarpgroupProduct& lane : p.lanes)
    if (!same(lane, first)) fatal("wgmma" + at(line) + ": the lanes of a warp issue different products");
  auto& requests = s.requests[static_cast<size_t>(warp / 4)];
  if (w.products == requests.size()) {
    requests.push_back(first);
    if (observer().product) observer().product(running_kernel(), warp / 4, first);
  } else if (!same(requests[w.products], first)) {
    fatal("wgmma" + at(line) + ": the warps of a warpgroup issue different products");
  }
  ++w.products;
  check_reads(p, warp, line);
  auto& sums = w.sums[first.sums];
  p.sums = &sums;
  if (sums.empty()) {
    sums.resize(static_cast<size_t>(16 * first.n));
    each_sum(p, [](float& of_lane, float& kept) { kept = of_lane, of_lane = std::numeric_limits<float>::quiet_NaN(); });
  }
  if (completes_immediately()) {
    for (auto& group : w.committed)
      for (Product& earlier : group) compute(earlier, warp);
    for (Product& earlier : w.open) compute(earlier, warp);
    compute(p, warp);
  }
  w.open.push_back(std::move(p));
}

// wgmma.wait_group: completes products until at most `pending` groups are in flight.
void retire(int pending) {
  Asynchronous& s = asynchronous_state();
  const int warp = warp_of(running_thread());
  Warp& w = s.warps[static_cast<size_t>(warp)];
  while (static_cast<int>(w.committed.size()) > pending) {
    std::vector<Product> group = std::move(w.committed.front());
    w.committed.pop_front();
    for (Product& p : group) {
      compute(p, warp);
      for (int i = 0; p.lanes[0].left && i < warp_lanes; ++i)
        if (!std::equal(p.left[i], p.left[i] + 4, p.lanes[i].left))
          fatal("registers of a wgmma changed while it may read them");
      for (uintptr_t number : p.granules) {
        --s.granules[number].reading;
        s.granules[number].read[warp] = w.clock[place(warp)];
      }
      // Accumulators stay NaN as long as a later product in flight adds to them.
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

// Runs `compute` when all lanes of the warp have arrived (.sync.aligned). `mine` is the operand of the calling lane.
static void meet(const char* name, int line, void* mine, Compute compute) {
  collective(0xffffffffu, name, line, mine, compute);
}

struct At {
  WarpgroupProduct product;
  int number;  // the line, or the number of groups to leave pending
};

void warpgroup_fence(int line) {
  meet("wgmma.fence", line, nullptr, [](void**, uint32_t) { my_warp().fenced = true; });
}

void warpgroup_product(const WarpgroupProduct& lane, int line) {
  if (reinterpret_cast<uintptr_t>(lane.sums) == 0 || lane.n % 8 || lane.n < 8 || lane.n > 256)
    fatal("wgmma" + at(line) + ": expected 8 to 256 columns, a multiple of 8, got " + std::to_string(lane.n));
  At mine{lane, line};
  meet(
      "wgmma.mma_async", line, &mine, [](void** lanes, uint32_t) { issue(lanes, static_cast<At*>(lanes[0])->number); });
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

}  // namespace emulator
}  // namespace heddle
