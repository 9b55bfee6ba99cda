// The state of the running block, which the executor (block.cc) and the block's memory (block_memory.cc) share.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "emulator/emulator.h"
#include "emulator/fiber.h"
#include "emulator/race.h"

namespace heddle {
namespace emulator {

constexpr size_t largest_shared = 227 << 10;  // shared memory per block of sm_90, the most of all devices
constexpr size_t red_zone = 64;               // guard bytes after each __shared__ variable
constexpr int warp_size = 32;

// A cp.async.
struct Copy {
  void* to;
  const void* from;
  int bytes, source_bytes;  // the bytes after source_bytes become zeros
  bool done;
};

enum class State { ready, barrier, collective, asynchronous, ended };

struct Thread {
  std::unique_ptr<Fiber> fiber;
  Dim3 index;
  State state;
  bool must_wait;  // has not called wait_for_previous, which its kernel requires
  int line;        // source line of the call in which it waits
  const char* waits_for;
  std::vector<Copy> copies;    // cp.async copies, oldest first
  std::vector<size_t> groups;  // per committed group, the number of copies up to its end
  Epoch epoch;
};

// A warp collective that some lanes have reached.
struct PendingCollective {
  uint32_t mask, arrived;
  const char* name;
  int line;
  void* operands[warp_size];
};

// A __shared__ variable. Its key is any address that identifies it.
struct Slot {
  const void* key;
  char* data;
  size_t bytes;
};

struct Block {
  const char* kernel = "";
  const std::function<void()>* body = nullptr;
  bool waits = false;  // threads must call wait_for_previous
  int threads = 0;
  std::vector<Thread> thread;                               // kept between blocks, with their stacks
  std::vector<std::vector<PendingCollective>> collectives;  // per warp
  std::vector<int> ready;
  size_t next = 0;  // index of the next thread in `ready`
  int at_barrier = 0, barrier_line = 0, ended = 0;
  Thread* current = nullptr;
  void* scheduler = nullptr;  // stack pointer of the scheduler while a thread runs
  std::string failure;
  std::vector<Slot> slots;
  std::unique_ptr<char[]> memory;
  char* shared_begin = nullptr;
  size_t shared_used = 0, dynamic_bytes = 0, capacity = 0;
};

// Never destroyed, because the process may exit while the thread of a device runs a block. Null in static initializers
// that run before that of block.cc.
extern Block* const the_block;
inline Block& block() { return *the_block; }

void check_red_zones();  // called after a block; sets Block::failure if a kernel wrote past a variable

}  // namespace emulator
}  // namespace heddle
