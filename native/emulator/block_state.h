// What the block executor (block.cc) and a block's memory (block_memory.cc) know of the running block in common.
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

constexpr size_t largest_shared = 227 << 10, red_zone = 64;
constexpr int warp_size = 32;

struct Copy {
  void* to;
  const void* from;
  int bytes, source_bytes;
  bool done;
};

enum class State { ready, barrier, collective, asynchronous, ended };

struct Thread {
  std::unique_ptr<Fiber> fiber;
  Dim3 index;
  State state;
  int line;                           // of the call that it waits in
  const char* waits_for;
  std::vector<Copy> copies;           // of cp.async, oldest first
  std::vector<size_t> groups;         // how many of them each committed group ends after
  Epoch epoch;
};

// A warp collective that some lanes have reached.
struct Meeting {
  uint32_t mask, arrived;
  const char* name;
  int line;
  void* operands[warp_size];
};

struct Slot {
  const void* key;
  char* data;
  size_t bytes;
};

struct Block {
  const char* kernel = "";
  const std::function<void()>* body = nullptr;
  int threads = 0;
  std::vector<Thread> thread;                // kept from block to block with their stacks
  std::vector<std::vector<Meeting>> meetings;  // per warp
  std::vector<int> ready;
  size_t next = 0;                           // of `ready`, in turn
  int at_barrier = 0, barrier_line = 0, ended = 0;
  Thread* current = nullptr;
  void* scheduler = nullptr;                 // its stack pointer while a thread runs
  std::string failure;
  std::vector<Slot> slots;
  std::unique_ptr<char[]> memory;
  char* shared_begin = nullptr;
  size_t shared_used = 0, dynamic_bytes = 0, capacity = 0;
};

// Never destroyed: a process may end while a lane's thread runs. Null in static initialisers that come before its own.
extern Block* const the_block;
inline Block& block() { return *the_block; }

void check_red_zones();  // after a block: b.failure where something was written past shared memory

}  // namespace emulator
}  // namespace heddle
