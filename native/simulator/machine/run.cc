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

constexpr size_t resident_blocks = 3;
constexpr int turn = 2000;           // instructions per turn
constexpr int quiet_rounds = 20000;  // rounds without progress that count as a deadlock

uint32_t part(const Dim& d, int axis) { return axis == 0 ? d.x : axis == 1 ? d.y : d.z; }

// Sets the special registers of PTX. Once per warp is enough, because the modelled ones never change.
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
    const int group = s.kind / 3 * 3, axis = s.kind % 3;
    for (uint32_t lane = 0; lane < lanes; ++lane) {
      const uint32_t thread = static_cast<uint32_t>(w.index) * lanes + lane;
      to[lane] = group == Special::laneid   ? lane
                 : group == Special::ntid   ? part(l.threads, axis)
                 : group == Special::ctaid  ? part(block.index, axis)
                 : group == Special::nctaid ? part(l.grid, axis)
                 : axis == 0                ? thread % l.threads.x
                 : axis == 1                ? thread / l.threads.x % l.threads.y
                                            : thread / l.threads.x / l.threads.y;
    }
  }
}

void start(Block& block, const Launch& launch, uint64_t number) {
  const Kernel& k = *launch.kernel;
  const auto threads = static_cast<uint32_t>(launch.threads.volume());
  const size_t count = (threads + lanes - 1) / lanes;
  block.launch = &launch;
  block.index = {static_cast<uint32_t>(number % launch.grid.x),
      static_cast<uint32_t>(number / launch.grid.x % launch.grid.y),
      static_cast<uint32_t>(number / launch.grid.x / launch.grid.y)};
  block.registers.resize(count * k.register_bytes + 64);
  block.warps.clear();
  block.warps.resize(count);
  block.shared.start(k.dynamic_offset + launch.dynamic_shared, static_cast<int>(count));
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
  const uint64_t blocks = launch.grid.volume();
  std::vector<Block*> resident;
  std::vector<std::unique_ptr<Block>> free = std::move(pool);
  pool.clear();
  uint64_t next = 0;
  int quiet = 0;
  while (next < blocks || !resident.empty()) {
    while (resident.size() < resident_blocks && next < blocks) {
      if (free.empty()) free.push_back(std::make_unique<Block>());
      pool.push_back(std::move(free.back()));
      free.pop_back();
      start(*pool.back(), launch, next++);
      resident.push_back(pool.back().get());
    }
    const uint64_t before = progress;
    for (Block* b : resident) {
      const size_t count = b->warps.size(), first = settings().seed ? random() % count : 0;
      for (size_t n = 0; n < count; ++n) {
        Warp& w = b->warps[(first + n) % count];
        if (w.state != Warp::ready) continue;
        advance(w);
        if (!w.yields) ++progress;
      }
    }
    quiet = progress == before ? quiet + 1 : 0;
    if (quiet > quiet_rounds) {
      std::string text = k.name + ": deadlock";
      for (const Block* b : resident) text += where(*b);
      throw Failure(text);
    }
    for (size_t n = 0; n < resident.size();) {
      if (resident[n]->running > 0) {
        ++n;
        continue;
      }
      finish(*resident[n]);
      const auto own = std::find_if(pool.begin(), pool.end(), [&](const auto& p) { return p.get() == resident[n]; });
      free.push_back(std::move(*own));
      pool.erase(own);
      resident.erase(resident.begin() + static_cast<std::ptrdiff_t>(n));
    }
  }
  for (auto& b : free) pool.push_back(std::move(b));
}

}  // namespace simulator
