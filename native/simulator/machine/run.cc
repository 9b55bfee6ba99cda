// Runs a launch. Several blocks are resident at a time. The blocks take turns, and so do the warps of each block.
#include <algorithm>
#include <random>

#include "simulator/machine/cubin.h"
#include "simulator/machine/machine.h"
#include "simulator/machine/memory.h"
#include "simulator/machine/settings.h"

namespace simulator {

uint64_t progress = 0;

namespace {

constexpr uint64_t resident_blocks = 3;  // or one cluster that has more
constexpr int turn = 2000;               // instructions per turn
constexpr int quiet_rounds = 20000;      // rounds without progress that count as a deadlock

// The index of element `number` of a grid of this size, whose innermost dimension is x.
Dim index_in(const Dim& d, uint64_t number) {
  return {static_cast<uint32_t>(number % d.x), static_cast<uint32_t>(number / d.x % d.y),
      static_cast<uint32_t>(number / d.x / d.y)};
}
uint32_t part(const Dim& d, int axis) { return axis == 0 ? d.x : axis == 1 ? d.y : d.z; }

// Sets the special registers of PTX. Once per warp is enough, because the modeled ones never change.
void set_specials(Warp& w, const Block& block) {
  using Special = Kernel::Special;
  const Launch& l = *block.launch;
  for (const Special& s : w.kernel->specials) {
    if (s.kind == Special::parameter) {
      for (int lane = 0; lane < lanes; ++lane)
        w.at<uint64_t>(s.offset)[lane] = reinterpret_cast<uint64_t>(l.base) + s.parameter_offset;
      continue;
    }
    auto* to = w.at<uint32_t>(s.offset);
    const int group = s.kind < Special::laneid ? s.kind / 3 * 3 : s.kind, axis = s.kind % 3;
    for (uint32_t lane = 0; lane < lanes; ++lane) {
      const Dim thread = index_in(l.threads, static_cast<uint32_t>(w.index) * lanes + lane);
      to[lane] = group == Special::tid               ? part(thread, axis)
                 : group == Special::ntid            ? part(l.threads, axis)
                 : group == Special::ctaid           ? part(block.index, axis)
                 : group == Special::nctaid          ? part(l.grid, axis)
                 : group == Special::cluster_ctaid   ? part(block.in_cluster, axis)
                 : group == Special::cluster_nctaid  ? part(l.cluster, axis)
                 : group == Special::clusterid       ? part(block.index, axis) / part(l.cluster, axis)
                 : group == Special::nclusterid      ? part(l.grid, axis) / part(l.cluster, axis)
                 : group == Special::laneid          ? lane
                 : group == Special::cluster_ctarank ? block.rank
                                                     : static_cast<uint32_t>(l.cluster.volume());  // cluster_nctarank
    }
  }
}

// Starts the block of this rank in a cluster. `base`: see Shared::start.
void start(Block& block, const Launch& launch, Cluster& cluster, uint64_t number, uint32_t rank, uint32_t base) {
  const Kernel& k = *launch.kernel;
  const auto threads = static_cast<uint32_t>(launch.threads.volume());
  const size_t count = (threads + lanes - 1) / lanes;
  block.launch = &launch;
  const Dim& size = launch.cluster;
  const Dim clusters{launch.grid.x / size.x, launch.grid.y / size.y, launch.grid.z / size.z};
  const Dim first = index_in(clusters, number);
  block.cluster = &cluster, block.rank = rank;
  block.in_cluster = index_in(size, rank);
  block.index = {first.x * size.x + block.in_cluster.x, first.y * size.y + block.in_cluster.y,
      first.z * size.z + block.in_cluster.z};
  block.registers.resize(count * k.register_bytes + 64);
  block.warps.clear();
  block.warps.resize(count);
  block.shared.start(k.dynamic_offset + launch.dynamic_shared, static_cast<int>(count), static_cast<int>(rank),
      static_cast<int>(size.volume()), base);
  for (NamedBarrier& b : block.barriers) b = {};
  block.running = static_cast<int>(count);
  block.free_registers = 0;
  unsigned char* registers = block.registers.data();
  registers += (64 - reinterpret_cast<uintptr_t>(registers) % 64) % 64;
  // Registers start as NaN.
  std::fill_n(registers, count * k.register_bytes, static_cast<unsigned char>(0xff));
  for (size_t n = 0; n < count; ++n) {
    Warp& w = block.warps[n];
    w.block = &block;
    w.kernel = &k;
    w.registers = registers + n * k.register_bytes;
    w.constants = k.constants.data();
    w.index = static_cast<int>(n);
    const uint32_t first = static_cast<uint32_t>(n) * lanes;
    w.full = w.path_mask = threads - first >= lanes ? all_lanes : (1u << (threads - first)) - 1;
    w.must_wait = launch.waits ? w.full : 0;
    set_specials(w, block);
    w.registers_each = (k.registers + 7) / 8 * 8;  // setmaxnreg moves multiples of 8
  }
}

// Starts cluster `number`, on memory of earlier blocks from `free`.
std::unique_ptr<Cluster> start(const Launch& launch, uint64_t number, std::vector<std::unique_ptr<Block>>& free) {
  auto cluster = std::make_unique<Cluster>();
  uint32_t base = 1;
  for (uint64_t n = launch.cluster.volume(); n > 0; --n) {
    if (free.empty()) free.push_back(std::make_unique<Block>());
    cluster->blocks.push_back(std::move(free.back()));
    free.pop_back();
    base = std::max(base, cluster->blocks.back()->shared.first_time());
  }
  if (base >= clock_limit) base = 1;
  for (uint32_t rank = 0; rank < cluster->blocks.size(); ++rank)
    start(*cluster->blocks[rank], launch, *cluster, number, rank, base);
  const size_t elements = cluster->blocks.size() * (cluster->blocks[0]->warps.size() + 1);
  for (Clock* c : {&cluster->arriving, &cluster->completed, &cluster->inits_arriving, &cluster->inits_completed})
    c->assign(elements, 0);
  return cluster;
}

// Runs a warp until its turn ends, it waits, it polls, or it has finished.
void advance(Warp& w) {
  const Instruction* code = w.kernel->code.data();
  w.yields = false;
  for (int left = turn; left > 0 && w.state == Warp::ready && !w.yields; --left) {
    while (w.pc == w.rejoin && !w.paths.empty()) {
      const Path path = w.paths.back();
      w.paths.pop_back();
      w.pc = path.pc, w.rejoin = path.rejoin, w.path_mask = path.mask & ~w.exited;
      if (w.path_mask == 0) w.pc = w.rejoin;  // all lanes of the path have exited
    }
    const Instruction& i = code[w.pc];
    w.mask = w.path_mask;
    if (i.guard >= 0) {
      w.mask &= w.predicate(i.guard) ^ i.guard_flip;
      if (w.mask == 0) {
        ++w.pc;
        continue;
      }
    }
    ++w.pc;
    i.run(w, i);
  }
}

// Describes where each unfinished warp of a block waits.
std::string where(const Block& b) {
  std::string text;
  for (const Warp& w : b.warps)
    if (w.state != Warp::finished)
      text += "\n  block (" + std::to_string(b.index.x) + ", " + std::to_string(b.index.y) + ", " +
              std::to_string(b.index.z) + "), warp " + std::to_string(w.index) + ": line " +
              std::to_string(w.kernel->code[static_cast<size_t>(std::max(0, w.pc - 1))].line) + ", " +
              w.kernel->texts[static_cast<size_t>(std::max(0, w.pc - 1))];
  return text;
}

// Checks a block that has ended.
void finish(const Block& b) {
  for (size_t n = 0; n < b.warps.size(); ++n)
    if (b.warps[n].products_issued != b.warps[n / 4 * 4].products_issued)
      throw Failure(b.launch->kernel->name + ": the warps of a warpgroup have issued different wgmma instructions");
  for (int n = 0; n < 16; ++n)
    if (b.barriers[n].arrived)
      throw Failure(
          b.launch->kernel->name + ": the block ends while threads have arrived at barrier " + std::to_string(n));
  for (const auto& m : b.shared.mbarriers)
    if (!m.second.copies.empty())
      throw Failure(b.launch->kernel->name + ": the block ends while a bulk copy to its shared memory is in flight");
  const int element = b.shared.accessed_after_end(), each = static_cast<int>(b.warps.size()) + 1;
  if (element >= 0)
    throw Failure(b.launch->kernel->name + ": block " + std::to_string(b.rank) +
                  " of its cluster may end before an access to its shared memory by " +
                  (element % each == each - 1 ? std::string("a bulk copy")
                                              : "warp " + std::to_string(element % each) + " of block " +
                                                    std::to_string(element / each) + " of the cluster"));
}

}  // namespace

void Warp::fail(const Instruction& i, const std::string& what) const {
  const Dim& b = block->index;
  throw Failure(kernel->name + ", line " + std::to_string(i.line) + ", " +
                kernel->texts[static_cast<size_t>(&i - kernel->code.data())] + ", block (" + std::to_string(b.x) +
                ", " + std::to_string(b.y) + ", " + std::to_string(b.z) + "), warp " + std::to_string(index) + ": " +
                what);
}

void run(Launch& launch) {
  const Kernel& k = *launch.kernel;
  if (k.max_threads && launch.threads.volume() > static_cast<uint64_t>(k.max_threads))
    throw Failure(k.name + ": " + std::to_string(launch.threads.volume()) + " threads, but .maxntid is " +
                  std::to_string(k.max_threads));
  if (registers_of_block(k.registers, launch.threads.volume()) > block_registers)
    throw Failure(k.name + ": " + std::to_string(launch.threads.volume()) + " threads with " +
                  std::to_string(k.registers) + " registers each, but a block may have " +
                  std::to_string(block_registers) + " registers");
  std::vector<unsigned char> aligned(launch.parameters.size() + 128);
  launch.base = aligned.data() + (128 - reinterpret_cast<uintptr_t>(aligned.data()) % 128);
  std::copy(launch.parameters.begin(), launch.parameters.end(), launch.base);
  memory::lend(launch.base, launch.parameters.size());
  const struct Return {
    const void* data;
    ~Return() { memory::take_back(data); }
  } give_back{launch.base};
  static std::vector<std::unique_ptr<Block>> pool;  // kept for the next launch, because a block's memory is large
  static std::mt19937 random(settings().seed);
  const uint64_t size = launch.cluster.volume(), clusters = launch.grid.volume() / size;
  std::vector<std::unique_ptr<Cluster>> resident;
  std::vector<std::unique_ptr<Block>> free = std::move(pool);
  pool.clear();
  uint64_t next = 0;
  int quiet = 0;
  while (next < clusters || !resident.empty()) {
    while ((resident.empty() || (resident.size() + 1) * size <= resident_blocks) && next < clusters)
      resident.push_back(start(launch, next++, free));
    const uint64_t before = progress;
    for (const auto& cluster : resident)
      for (const auto& b : cluster->blocks) {
        const size_t count = b->warps.size(), first = settings().seed ? random() % count : 0;
        for (size_t n = 0; n < count; ++n) {
          Warp& w = b->warps[(first + n) % count];
          if (w.state != Warp::ready) continue;
          advance(w);
          if (!w.yields) ++progress;
          if (w.state == Warp::finished && b->running == 0) finish(*b);
        }
      }
    quiet = progress == before ? quiet + 1 : 0;
    if (quiet > quiet_rounds) {
      std::string text = k.name + ": deadlock";
      for (const auto& cluster : resident)
        for (const auto& b : cluster->blocks) text += where(*b);
      throw Failure(text);
    }
    for (size_t n = 0; n < resident.size();) {
      auto& blocks = resident[n]->blocks;
      if (std::any_of(blocks.begin(), blocks.end(), [](const auto& b) { return b->running > 0; })) {
        ++n;
        continue;
      }
      for (auto& b : blocks) free.push_back(std::move(b));
      resident.erase(resident.begin() + static_cast<std::ptrdiff_t>(n));
    }
  }
  pool = std::move(free);
}

}  // namespace simulator
