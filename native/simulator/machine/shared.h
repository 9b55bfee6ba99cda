// The shared memory of a block. Records the written bytes, the last threads that wrote and read them, and the positions
// of mbarrier objects. Finds races by vector clocks, as FastTrack (Flanagan and Freund, 2009) does. "The agent" below
// is the unit that performs bulk copies to the block's shared memory. It has a clock, like a warp. Warps of the same
// cluster may arrive at each other's mbarrier objects, and copy to each other's shared memory.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace simulator {

struct Warp;
struct Instruction;

// A vector clock of a cluster. For each block: the latest known time of each warp, then that of the agent.
using Clock = std::vector<uint32_t>;
void join(Clock& into, const Clock& other);

// Clocks have 26 bits. A block starts below this limit, so that its clocks do not overflow.
constexpr uint32_t clock_limit = 1u << 25;
constexpr uint32_t shared_begin = 1024;  // the first address; CUDA reserves 1 KB per block
// The upper bits of generic addresses of shared memory. Addresses of the host never have them, so they are unambiguous.
constexpr uint64_t shared_window = uint64_t{0x7f5a} << 48;

struct AsyncBox;

// See "Parallel Synchronization and Communication Instructions: mbarrier".
struct Mbarrier {
  uint32_t expected = 0, pending = 0;  // arrivals per phase, and those that the current phase still needs
  int64_t transactions = 0;            // bytes that the current phase still expects
  uint32_t phase = 0;
  // Joined clocks of the current phase's arrivals, and of the last completed phase's. `far`: of arrivals from other
  // blocks at cluster scope, which only threads that acquire at cluster scope observe. `any`: of all arrivals from
  // other blocks.
  Clock arriving, completed, far_arriving, far_completed, any_arriving, any_completed;
  // `touched`: for each warp of another block, the time of its last arrival at this object. `awaited`: joined clocks of
  // the arrivals from other blocks that a thread has waited for at this object.
  Clock touched, awaited;
  int init_warp = 0, init_lane = 0;
  uint32_t init_clock = 0;
  std::vector<AsyncBox> copies;  // copies in flight that will complete transactions of this barrier
};

// A cp.async.bulk or cp.async.bulk.tensor to shared memory.
struct AsyncBox {
  const Instruction* instruction = nullptr;
  uint32_t to = 0, bytes = 0;
  std::vector<unsigned char> data;  // empty: read from `from` when it completes
  uint64_t from = 0;
  uint64_t map = 0;    // address of the tensor map; 0: copies contiguous bytes
  int32_t at[5] = {};  // coordinates of the box
  int rank = 0;
};

class Shared {
 public:
  // product: a read of the asynchronous proxy by wgmma, for which the warp has waited.
  enum class Proxy { generic, async, product };
  // Prepares the memory for a block, of this rank in a cluster of `blocks` blocks. All clocks of the cluster start at
  // `base`, which must be at least first_time() of each block.
  void start(uint32_t bytes, int warps, int rank, int blocks, uint32_t base);
  uint32_t first_time() const;  // a time after all accesses so far

  uint32_t end() const { return shared_begin + static_cast<uint32_t>(bytes_.size()); }
  unsigned char* data(uint32_t address) { return bytes_.data() + (address - shared_begin); }

  // Check and record an access by a lane. Fail if bytes are out of bounds, in flight or part of an mbarrier object, if
  // unwritten bytes are read, and on a race.
  void read(
      const Warp& w, const Instruction& i, int lane, uint32_t address, uint32_t bytes, Proxy proxy = Proxy::generic);
  void write(const Warp& w, const Instruction& i, int lane, uint32_t address, uint32_t bytes);
  // Checks and records an atomic access. Atomics do not race with each other, but with plain accesses. A plain access
  // after several atomics is checked against the last one.
  void atomic(const Warp& w, const Instruction& i, int lane, uint32_t address, uint32_t bytes);
  // begin_copy: a copy to these bytes was issued. end_copy: the copy has written them, and the lane has waited for it.
  // No thread may access the bytes in between. The warp that copies may belong to another block of the cluster.
  void begin_copy(const Warp& w, const Instruction& i, int lane, uint32_t address, uint32_t bytes, Proxy proxy);
  void end_copy(const Warp& w, int lane, uint32_t address, uint32_t bytes);
  // Ends a copy that the agent has made, and sets the agent's element of `clock` to its time.
  void end_agent_copy(uint32_t address, uint32_t bytes, Clock& clock);

  Clock& clock(int warp) { return clocks_[static_cast<size_t>(warp)]; }
  const Clock& clock(int warp) const { return clocks_[static_cast<size_t>(warp)]; }
  uint32_t time(int warp) const { return clock(warp)[place(warp)]; }
  size_t place(int warp) const { return first_ + static_cast<size_t>(warp); }  // the warp's element in a clock
  void tick(int warp);                                                         // advances the warp's time
  void fence(const Warp& w);                                                   // fence.proxy.async
  // Whether the lane has executed fence.proxy.async after the time `clock` of its warp.
  bool fenced(int warp, int lane, uint32_t clock) const;

  // fence.mbarrier_init: the warp's next barrier.cluster.arrive publishes its initializations, even if it is relaxed.
  void fence_initializations(int warp) { fenced_inits_[place(warp)] = ++clock(warp)[place(warp)]; }
  const Clock& fenced_initializations() const { return fenced_inits_; }
  void learn_initializations(const Clock& published) { join(known_inits_, published); }

  // The warp has seen that these accesses of other blocks came before. That alone does not make their writes visible to
  // it. But it may overwrite what their products have read and what their copies have written. Both have ended, because
  // a thread of the other block has waited for them.
  void note_before(int warp, const Clock& others) { join(before_[static_cast<size_t>(warp)], others); }
  // Records that a warp of another block has arrived at an mbarrier object of this block.
  static void touch(Mbarrier& m, const Warp& w);
  void leave(int warp) { join(left_, clock(warp)); }  // the warp has ended
  // Returns the index in a clock of a warp or agent whose last access to this memory may come after the block's end, or
  // -1. A thread of the block must have waited for each arrival, at the mbarrier object where it was made. A wait at
  // another object counts only if the wait, and the arrival that it waits for, have cluster scope. Arrivals of block
  // scope are not ordered.
  int accessed_after_end() const;

  std::map<uint32_t, Mbarrier> mbarriers;
  // Returns the mbarrier object at the address. Fails if its initialization is not visible to the warp.
  Mbarrier& mbarrier(const Warp& w, const Instruction& i, uint32_t address);
  void init_mbarrier(const Warp& w, const Instruction& i, int lane, uint32_t address, uint32_t count);

 private:
  // State of a byte: unwritten, written, destination of a copy in flight, part of an mbarrier object. `written` must be
  // 1: read() tests four bytes at once.
  enum State : unsigned char { empty, written, flying, object };
  struct Write {
    uint32_t clock;
    uint16_t thread;        // warp * 32 + lane; the agent: warps * 32
    unsigned char touched;  // mask of the written bytes among the four
    unsigned char async;    // 1: written by the agent
    // atomic: 1 for an atomic access. The fields after it then describe the last plain write before.
    unsigned char atomic = 0, plain_async = 0;
    uint16_t plain_thread = 0;
    uint32_t plain_clock = 0;
  };
  void check_states(const Warp& w, const Instruction& i, uint32_t at, uint32_t bytes) const;
  void bounds(const Warp& w, const Instruction& i, uint32_t address, uint32_t bytes) const;
  void race(const Warp& w, const Instruction& i, int lane, const char* what, uint32_t granule, uint32_t other) const;
  // Checks a write to the `touched` bytes of a granule: that it comes after an earlier write, and after all reads.
  void check_write(
      const Warp& w, const Instruction& i, int lane, uint32_t granule, unsigned touched, const Write& earlier) const;

  bool is_mine(const Warp& w) const;  // whether the warp belongs to this block

  // A granule is 4 bytes.
  std::vector<unsigned char> bytes_, states_;
  std::vector<Write> writes_;  // the last write of each granule
  // For each warp, its last read of each granule: clock * 64 + lane. The lane is 32 if several have read the granule,
  // and 33 if only products have.
  std::vector<std::vector<uint32_t>> reads_;
  std::vector<Clock> clocks_;      // by warp, then the agent's
  std::vector<Clock> before_;      // by warp: see note_before
  std::vector<uint32_t> ordered_;  // by warp: accesses of its lanes before this time are ordered before later ones
  std::vector<uint32_t> fences_;   // by thread: the time of its warp after its last fence.proxy.async
  // The time of the agent's last copy, and those of the ends of the block's warps and of published initializations.
  uint32_t copied_ = 0;
  Clock left_, fenced_inits_, known_inits_;
  int warps_ = 0, blocks_ = 0;
  size_t first_ = 0;    // the element of warp 0 in a clock
  uint32_t begin_ = 0;  // the block's accesses are later than this time
};

}  // namespace simulator
