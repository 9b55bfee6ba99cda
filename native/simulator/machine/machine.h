// A decoded kernel, and the state of its blocks and warps. A warp runs each instruction for 32 lanes.
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

// An operand is the offset of its 32 lanes: in the registers of the warp, or (complemented) in the kernel's constants.
struct Instruction {
  void (*run)(Warp&, const Instruction&) = nullptr;
  int32_t d = 0, a = 0, b = 0, c = 0;
  int32_t guard = -1;             // offset of the guard's predicate; -1: no guard
  uint32_t guard_flip = 0;        // all_lanes if the guard is negated
  int32_t target = -1;            // index of a branch's target
  int32_t rejoin = -1;            // index where the lanes of a branch reconverge; -1: never
  uint32_t first = 0, count = 0;  // range of the list of operands in Kernel::operands
  uint32_t flags = 0;
  int64_t immediate = 0;
  int line = 0;
  // The allocation that this instruction used last.
  mutable uint64_t seen_begin = 0, seen_end = 0, seen_version = 0;
};

struct Kernel {
  std::string name, target;
  std::vector<Instruction> code;
  std::vector<int32_t> operands;
  std::vector<unsigned char> constants;
  std::vector<std::string> texts;  // opcode of each instruction, for messages
  // Special registers, which are set before a warp runs. The kinds are x, y and z of %tid, %ntid, %ctaid and %nctaid,
  // then %laneid and the address of a parameter.
  struct Special {
    enum Kind { tid = 0, ntid = 3, ctaid = 6, nctaid = 9, laneid = 12, parameter = 13 };
    int kind;
    uint32_t parameter_offset;
    int32_t offset;
  };
  std::vector<Special> specials;
  std::vector<Variable> parameters;
  uint32_t parameter_bytes = 0, register_bytes = 0;
  uint32_t shared_bytes = 0;    // static
  uint32_t dynamic_offset = 0;  // offset of dynamic shared memory
  uint32_t local_bytes = 0;     // local memory per thread
  int max_threads = 0;
};

struct Dim {
  uint32_t x = 1, y = 1, z = 1;
  uint64_t volume() const { return uint64_t{x} * y * z; }
};

struct Launch {
  const Kernel* kernel = nullptr;
  Dim grid, threads;
  uint32_t dynamic_shared = 0;
  std::vector<unsigned char> parameters;  // the kernel reads them through `base`
  unsigned char* base = nullptr;          // aligned to 128 bytes, because a tensor map must be aligned to 64
};

// Lanes that wait for others: see "Divergence of Threads in Control Constructs".
struct Path {
  int pc, rejoin;
  uint32_t mask;
};

// One cp.async of a warp.
struct AsyncCopy {
  const Instruction* instruction;
  uint32_t mask;
  uint32_t bytes;
  uint32_t to[lanes];
  uint64_t from[lanes];
  uint32_t source_bytes[lanes];
};

// One wgmma.mma_async that has been issued. Holds the register operands as they were when it was issued.
struct AsyncProduct {
  const Instruction* instruction;
  uint64_t a, b;
  bool add;
  std::vector<uint32_t> left;  // 4 registers of 32 lanes
};

// One cp.async.bulk of a thread from shared to global memory.
struct BulkStore {
  const Instruction* instruction;
  uint32_t from, bytes;
  uint64_t to;
  std::vector<unsigned char> data;  // a copy of the source; empty until the source has been read
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
  std::vector<Path> paths;
  enum State { ready, waiting, finished } state = ready;
  bool yields = false;  // ends its turn, because it polls
  std::vector<AsyncCopy> open_copies;
  std::deque<std::vector<AsyncCopy>> copy_groups;
  std::vector<AsyncProduct> open_products;
  std::deque<std::vector<AsyncProduct>> product_groups;
  bool products_fenced = false;
  uint64_t products_issued = 0;  // hash of all issued products, which must be equal in the warps of a warpgroup
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
  void need_all(const Instruction& i) const {
    if (mask != full) fail(i, "needs all threads of the warp, but some have left or are elsewhere");
  }
};

struct NamedBarrier {
  int threads = 0, arrived = 0;  // threads: 0 while unused
  std::vector<Warp*> sleepers;
  Clock clock;
};

struct Block {
  const Launch* launch = nullptr;
  Dim index;
  std::vector<Warp> warps;
  std::vector<unsigned char> registers;
  Shared shared;
  NamedBarrier barriers[16];
  int running = 0;
  int free_registers = 0;  // registers that setmaxnreg.dec released
  std::vector<unsigned char> local;
};

// Completes the bulk stores of a thread that ends. Fails if their sources were not read.
void end_stores(Warp& w, const Instruction& i, int lane);
// Runs a launch to its end. Throws Failure.
void run(Launch& launch);
// Increases with every step that other warps or blocks may wait for. If it stays the same for many rounds, the
// scheduler reports a deadlock.
extern uint64_t progress;

}  // namespace simulator
