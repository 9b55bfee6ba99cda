// A decoded kernel, and the state of its blocks and warps. A warp runs each instruction for all 32 lanes.
#pragma once
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "simulator/machine/shared.h"
#include "simulator/ptx/module.h"

namespace simulator {

constexpr int lanes = 32;
constexpr uint32_t all_lanes = 0xffffffffu;

struct Warp;
struct Block;

// d, a, b and c are byte offsets of the 32 lanes of an operand. An offset of at least 0 is in the warp's registers. A
// negative one is the complement of an offset in the kernel's constants.
struct Instruction {
  void (*run)(Warp&, const Instruction&) = nullptr;
  int32_t d = 0, a = 0, b = 0, c = 0;
  int32_t guard = -1;             // offset of the guard's predicate; -1: no guard
  uint32_t guard_flip = 0;        // all_lanes if the guard is negated
  int32_t target = -1;            // index of a branch's target
  int32_t rejoin = -1;            // index where the lanes of a branch reconverge; -1: never
  uint32_t first = 0, count = 0;  // range of the list of operands in Kernel::operands
  uint32_t flags = 0;             // their meaning depends on `run`
  int64_t immediate = 0;
  int line = 0;
  // A cache of memory::check: the bounds of the allocation that this instruction accessed last.
  mutable uint64_t seen_begin = 0, seen_end = 0, seen_version = 0;
};

struct Kernel {
  std::string name, target;
  std::vector<Instruction> code;
  std::vector<int32_t> operands;
  std::vector<unsigned char> constants;
  std::vector<std::string> texts;  // opcode of each instruction, for messages
  // Special registers, which are set before a warp runs. The kinds before laneid are followed by y and z: tid + 1 is
  // %tid.y. `parameter` is the address of a kernel parameter.
  struct Special {
    enum Kind {
      tid = 0,
      ntid = 3,
      ctaid = 6,
      nctaid = 9,
      cluster_ctaid = 12,
      cluster_nctaid = 15,
      clusterid = 18,
      nclusterid = 21,
      laneid = 24,
      cluster_ctarank = 25,
      cluster_nctarank = 26,
      parameter = 27
    };
    int kind;
    uint32_t parameter_offset;
    int32_t offset;
  };
  std::vector<Special> specials;
  std::vector<Variable> parameters;
  uint32_t parameter_bytes = 0, register_bytes = 0;
  uint32_t shared_bytes = 0;    // static shared memory
  uint32_t dynamic_offset = 0;  // offset of dynamic shared memory
  uint32_t local_bytes = 0;     // local memory per thread
  int max_threads = 0;          // .maxntid; 0: none
  int registers = 0;            // per thread at the launch, from the cubin
};

struct Dim {
  uint32_t x = 1, y = 1, z = 1;
  uint64_t volume() const { return uint64_t{x} * y * z; }
};

struct Launch {
  const Kernel* kernel = nullptr;
  Dim grid, threads;
  Dim cluster;  // blocks of a cluster; divides the grid
  uint32_t dynamic_shared = 0;
  // The launch has cudaLaunchAttributeProgrammaticStreamSerialization. The kernel may start before the kernel before it
  // has ended. So each thread must execute griddepcontrol.wait before it accesses global memory and before it exits.
  bool waits = false;
  bool overlaps = false;                  // the attribute's value is not 0
  std::vector<unsigned char> parameters;  // the kernel reads them through `base`
  unsigned char* base = nullptr;          // a copy, aligned to 128 bytes because a tensor map needs 64
};

// Diverged lanes that wait until other lanes have run ("Divergence of Threads in Control Constructs"). They continue at
// pc, and end their path at rejoin.
struct Path {
  int pc, rejoin;
  uint32_t mask;
};

// A cp.async that a warp has issued.
struct AsyncCopy {
  const Instruction* instruction;
  uint32_t mask;
  uint32_t bytes;
  uint32_t to[lanes];
  uint64_t from[lanes];
  uint32_t source_bytes[lanes];
};

// A wgmma.mma_async that was issued. Holds a copy of its register operands.
struct AsyncProduct {
  const Instruction* instruction;
  uint64_t a, b;
  bool add;
  std::vector<uint32_t> left;  // a, if it is in registers: 4 registers of 32 lanes
};

// A cp.async.bulk, cp.async.bulk.tensor or cp.reduce.async.bulk of a thread, from shared to global memory.
struct BulkStore {
  const Instruction* instruction;
  uint32_t from, bytes;
  uint64_t to = 0;
  std::vector<unsigned char> data;  // a copy of the source; empty until the source has been read
  uint64_t map = 0;                 // address of the tensor map; 0: writes contiguous bytes to `to`
  int32_t at[5] = {};               // coordinates of the box
};

struct Warp {
  Block* block = nullptr;
  const Kernel* kernel = nullptr;
  unsigned char* registers = nullptr;
  const unsigned char* constants = nullptr;
  int index = 0;
  int pc = 0, rejoin = -1;
  uint32_t mask = 0;       // lanes that run this instruction
  uint32_t path_mask = 0;  // lanes of the current path
  uint32_t full = 0;       // lanes that the launch started
  uint32_t exited = 0;
  uint32_t must_wait = 0;  // lanes that must execute griddepcontrol.wait before they access global memory
  std::vector<Path> paths;
  enum State { ready, waiting, finished } state = ready;
  bool yields = false;  // ends the warp's turn, because its last instruction polls
  // barrier.cluster: lanes that have arrived in the current phase, and lanes that have arrived but not waited.
  uint32_t in_cluster_phase = 0, must_wait_for_cluster = 0;
  std::vector<AsyncCopy> open_copies;
  std::deque<std::vector<AsyncCopy>> copy_groups;
  std::vector<AsyncProduct> open_products;
  std::deque<std::vector<AsyncProduct>> product_groups;
  bool products_fenced = false;
  // Hash of all issued products. The warps of a warpgroup must end with the same hash.
  uint64_t products_issued = 0;
  std::vector<BulkStore> open_stores[lanes];
  std::deque<std::vector<BulkStore>> store_groups[lanes];
  int registers_each = 0;  // registers per thread, as set by setmaxnreg

  template <class T> T* at(int32_t offset) { return reinterpret_cast<T*>(registers + offset); }
  const unsigned char* read(int32_t offset) const { return offset >= 0 ? registers + offset : constants + ~offset; }
  template <class T> const T* get(int32_t offset) const { return reinterpret_cast<const T*>(read(offset)); }
  uint32_t predicate(int32_t offset) const { return *get<uint32_t>(offset); }
  void set_predicate(int32_t offset, uint32_t value) {
    uint32_t& p = *at<uint32_t>(offset);
    p = (p & ~mask) | (value & mask);
  }
  [[noreturn]] void fail(const Instruction& i, const std::string& what) const;
  // Fails if a lane of the mask accesses global memory before the griddepcontrol.wait that it must execute.
  void need_wait(const Instruction& i) const {
    if (must_wait & mask)
      fail(i, "accesses global memory before griddepcontrol.wait, while the kernel before it may still run");
  }
  void need_all(const Instruction& i) const {
    if (mask != full) fail(i, "needs all threads of the warp, but some have exited or diverged");
  }
};

struct NamedBarrier {
  int threads = 0, arrived = 0;  // threads: the expected number, 0 before the first arrival
  std::vector<Warp*> sleepers;
  Clock clock;
};

struct Block;
// A cluster: blocks that are resident together, and their barrier.cluster. A launch without clusters has clusters of
// one block.
struct Cluster {
  std::vector<std::unique_ptr<Block>> blocks;  // by rank
  // Joined clocks of the current phase's arrivals, and of the last completed phase's. `inits`: of mbarrier
  // initializations that fence.mbarrier_init made visible.
  Clock arriving, completed, inits_arriving, inits_completed;
};

struct Block {
  const Launch* launch = nullptr;
  Dim index;
  Cluster* cluster = nullptr;
  Dim in_cluster;     // index of the block in its cluster
  uint32_t rank = 0;  // the same as one number
  std::vector<Warp> warps;
  std::vector<unsigned char> registers;
  Shared shared;
  NamedBarrier barriers[16];
  int running = 0;
  int free_registers = 0;  // registers that setmaxnreg.dec released
  std::vector<unsigned char> local;
};

// Completes the phase of barrier.cluster if all threads of the cluster have arrived or exited.
void check_cluster_barrier(Cluster& cluster);
// Completes the bulk stores of a thread that exits. Fails if it has not waited until their sources were read.
void end_stores(Warp& w, const Instruction& i, int lane);
// Runs a launch to its end. Throws Failure.
void run(Launch& launch);
// A counter that increases with every step for which other warps or blocks may wait. If it stays the same for many
// rounds, the scheduler reports a deadlock.
extern uint64_t progress;

}  // namespace simulator
