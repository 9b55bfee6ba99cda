// The state of the asynchronous units of each block of a cluster, which barriers.cc, asynchronous.cc (copies),
// bulk_write.cc and warpgroup.cc (products) share.
#pragma once
#include <algorithm>
#include <deque>
#include <map>
#include <string>
#include <vector>

#include "cuda.h"
#include "emulator/asynchronous.h"
#include "emulator/emulator.h"
#include "emulator/executor.h"
#include "emulator/race.h"

namespace heddle {
namespace emulator {

constexpr int most_warps = 32, warp_lanes = 32;
constexpr uintptr_t granule_bytes = 128;  // a line of a swizzled tile

using Clock = std::vector<uint32_t>;  // a vector clock: the latest known time of each warp of the cluster

inline void join(Clock& to, const Clock& from) {
  for (size_t i = 0; i < to.size(); ++i) to[i] = std::max(to[i], from[i]);
}

struct Barrier {
  uint32_t count, pending;    // arrivals per phase, and those that the current phase still needs
  int64_t bytes = 0;          // expected bytes minus those that have arrived
  uint32_t phase = 0;         // the first incomplete phase
  Clock arriving, completed;  // joined clocks of all arrivals: until now, and until the last phase completed
  int owner;                  // the warp that initialized the barrier
  uint32_t since;             // the owner's time at the initialization
  bool fenced = false;        // the owner has executed fence.proxy.async after the initialization
  std::vector<int> waiting;   // threads
};

// The state of 128 bytes of shared memory.
struct Granule {
  bool in_flight = false;          // whether a copy to it is in flight
  uintptr_t barrier = 0;           // the barrier of the last copy to it, or 0
  uint32_t phase = 0;              // the barrier's phase that this copy belonged to
  int reading = 0;                 // number of products in flight that read it
  uint32_t read[most_warps] = {};  // per warp, the time when its last product completed
};

struct NamedBarrier {
  int threads = 0, arrived = 0, line = 0;  // threads is 0 until the first arrival
  uint32_t phase = 0;
  bool waited_for = false;
  Clock arriving, completed;
  std::vector<int> waiting;
};

// The size of a tensor map's box in bytes.
inline size_t box_bytes(const TensorMap& map) {
  return size_t{map.box[0]} * map.box[1] * map.box[2] * map.box[3] * map.element_bytes;
}
// Calls use(line, row) for each line of the box at these coordinates. `row` is the address of the first element in the
// line's row of the tensor, or null if the row is outside the tensor.
template <class F> void each_line(const TensorMap& map, const int32_t* at, F use) {
  for (uint32_t line = 0; line < map.box[1] * map.box[2] * map.box[3]; ++line) {
    const int64_t outer[3] = {at[1] + int64_t{line % map.box[1]}, at[2] + int64_t{line / map.box[1] % map.box[2]},
        at[3] + int64_t{line / map.box[1] / map.box[2]}};
    bool inside = true;
    const char* row = map.data;
    for (int i = 0; i < 3; ++i) {
      inside = inside && outer[i] >= 0 && outer[i] < int64_t{map.dims[i + 1]};
      row += outer[i] * static_cast<int64_t>(map.strides[i]);
    }
    use(line, inside ? row : nullptr);
  }
}
// Returns the tensor map that `map` points to. Fatal if it is invalid or has another number of dimensions.
TensorMap tensor_map_of(const void* map, uint32_t rank, const char* what, int line);

// A copy in flight, of a box or of contiguous bytes.
struct BoxCopy {
  uintptr_t to;
  TensorMap map;
  int32_t at[4];
  uintptr_t barrier;
  const char* from = nullptr;  // source of contiguous bytes; null for a box
  size_t plain_bytes = 0;      // number of contiguous bytes
  size_t bytes() const { return from ? plain_bytes : box_bytes(map); }
};

// A bulk write from shared to global memory.
struct BulkWrite {
  char* to;
  uintptr_t from;
  uint32_t bytes;
  bool add, read = false;
  std::vector<char> data;  // set once the source is read
  bool boxed = false;      // whether the target is a box of `map`, not `to`
  TensorMap map = {};
  int32_t at[4] = {};
};
struct BulkWrites {
  std::vector<BulkWrite> open;
  std::deque<std::vector<BulkWrite>> committed;
};

// A product that one warp has issued: 16 of the 64 rows.
struct Product {
  WarpgroupProduct lanes[warp_lanes];
  uint32_t left[warp_lanes][4];     // operand a in the lanes' registers, when the product was issued
  std::vector<uintptr_t> granules;  // indices of the granules that it reads
  bool done = false;                // computed
  std::vector<float>* sums;         // (16, n), in Warp::sums
};

struct Warp {
  Clock clock;
  std::map<uintptr_t, uint32_t> seen;  // per barrier, the number of phases known to be complete
  bool fenced = false;                 // wgmma.fence was executed since the last wait
  std::vector<Product> open;           // not committed
  std::deque<std::vector<Product>> committed;
  std::map<float*, std::vector<float>> sums;  // sums of products in flight, by the address of lane 0's accumulators
  size_t products = 0;                        // number of issued products
  int registers = 0;                          // per thread; 0: the number at the launch
};

struct Asynchronous {
  std::vector<Warp> warps;
  std::map<uintptr_t, Barrier> barriers;
  NamedBarrier named[16];
  std::vector<Granule> granules;
  std::vector<BoxCopy> copies;                          // in flight
  std::map<int, BulkWrites> writes;                     // per thread
  std::vector<int> waiting_for_writes;                  // threads that wait for their writes
  std::vector<std::vector<WarpgroupProduct>> requests;  // per warpgroup: each product, as its first warp issued it
  int free_registers = 0;                  // sum over warps of the registers per thread that they have released
  std::vector<int> waiting_for_registers;  // threads that wait for registers
  size_t first = 0;                        // the element of the block's warp 0 in a clock
  Clock touched, left;  // the last arrivals from warps of other blocks; joined clocks of the threads that have ended
  bool used = false;    // whether the block has used any unit
};

// The state of the running block, or of the block of an InBlock.
Asynchronous& asynchronous_state();

// Returns the barrier of the block at this address. `known` is the clock of the warp that uses it. Fatal if none
// exists, or if its initialization is not ordered before the use.
Barrier& find(uintptr_t barrier, const Clock& known, const char* what, int line);
// Completes the barrier's phase, and wakes the threads that wait for it, unless arrivals or bytes are missing.
void complete_if_done(Barrier& b);
// Fatal unless the cluster has a block of this rank that has not ended.
void check_peer(uint32_t rank, const char* what, int line);

// Completes all committed bulk writes at the end of a block. Returns a description of an error if a write was not
// committed or its source not read, and "" otherwise.
std::string drain_writes();

inline int warp_of(int thread) { return thread / warp_lanes; }
inline Warp& my_warp() { return asynchronous_state().warps[static_cast<size_t>(warp_of(running_thread()))]; }
// The index of a warp of the block in a clock.
inline size_t place(int warp) { return asynchronous_state().first + static_cast<size_t>(warp); }
inline std::string at(int line) { return " at line " + std::to_string(line); }
// The 128-byte swizzle: XORs bits 7 to 9 of an address into bits 4 to 6.
inline uintptr_t swizzle(uintptr_t address) { return address ^ (address >> 3 & 0x70); }

}  // namespace emulator
}  // namespace heddle
