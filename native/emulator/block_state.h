// The state of the running blocks, which the executor (block.cc) and the blocks' memory (block_memory.cc) share.
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

enum class State { ready, barrier, collective, asynchronous, cluster, ended };

struct Thread {
  std::unique_ptr<Fiber> fiber;
  Dim3 index;
  int number;  // index within the block
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
  Dim3 position;
  int rank = 0;                                             // in its cluster
  std::vector<Thread> thread;                               // kept between blocks, with their stacks
  std::vector<std::vector<PendingCollective>> collectives;  // per warp
  int at_barrier = 0, barrier_line = 0, ended = 0;
  std::vector<Slot> slots;
  std::unique_ptr<char[]> memory;
  char* shared_begin = nullptr;
  size_t shared_used = 0;
};

// The running cluster. Its blocks run at the same time. A launch without clusters has clusters of one block.
struct Cluster {
  const char* kernel = "";
  const std::function<void()>* body = nullptr;
  bool waits = false;  // threads must call wait_for_previous
  int threads = 0;     // of a block
  size_t dynamic_bytes = 0, capacity = 0;
  int size = 1;
  std::vector<std::unique_ptr<Block>> blocks;  // by rank; kept between clusters, so there may be more than `size`
  std::vector<int> ready;                      // rank * 1024 + index within the block
  size_t next = 0;                             // index of the next thread in `ready`
  Block* block = nullptr;                      // of the running thread
  Thread* current = nullptr;
  void* scheduler = nullptr;  // stack pointer of the scheduler while a thread runs
  int at_barrier = 0;         // threads that wait in sync_cluster
  std::string failure;
};

// Never destroyed, because the process may exit while the thread of a device runs a block. Null in static initializers
// that run before that of block.cc.
extern Cluster* const the_cluster;
inline Cluster& cluster() { return *the_cluster; }
inline Block& block() { return *the_cluster->block; }

void check_red_zones();  // called after a block; sets Cluster::failure if a kernel wrote past a variable

}  // namespace emulator
}  // namespace heddle
