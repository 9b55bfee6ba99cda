// The shared memory of a block. Records the written bytes, the last threads that wrote and read them, and the positions
// of mbarrier objects. Finds races by vector clocks, as FastTrack (Flanagan and Freund, 2009) does. "The agent" below
// is the unit that performs bulk copies to shared memory. It has a clock, like a warp.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace simulator {

struct Warp;
struct Instruction;

// A vector clock: the latest known time of each warp, and as the last element that of the agent.
using Clock = std::vector<uint32_t>;
void join(Clock& into, const Clock& other);

constexpr uint32_t shared_begin = 1024;  // the first address; CUDA reserves 1 KB per block
// The upper bits of generic addresses of shared memory. Addresses of the host never have them, so they are unambiguous.
constexpr uint64_t shared_window = uint64_t{0x7f5a} << 48;

struct AsyncBox;

// See "Parallel Synchronization and Communication Instructions: mbarrier".
struct Mbarrier {
  uint32_t expected = 0, pending = 0;  // arrivals per phase, and those that the current phase still needs
  int64_t transactions = 0;            // bytes that the current phase still expects
  uint32_t phase = 0;
  Clock arriving, completed;  // joined clocks of the current phase's arrivals, and of the last completed phase's
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
  enum class Proxy { generic, async };
  void start(uint32_t bytes, int warps);

  uint32_t end() const { return shared_begin + static_cast<uint32_t>(bytes_.size()); }
  unsigned char* data(uint32_t address) { return bytes_.data() + (address - shared_begin); }

  // Check and record an access by a lane. Fail if bytes are out of bounds, in flight or part of an mbarrier object, if
  // unwritten bytes are read, and on a race.
  void read(
      const Warp& w, const Instruction& i, int lane, uint32_t address, uint32_t bytes, Proxy proxy = Proxy::generic);
  void write(const Warp& w, const Instruction& i, int lane, uint32_t address, uint32_t bytes);
  // Checks and records an atomic access. Atomics do not race with each other, but with plain accesses.
  void atomic(const Warp& w, const Instruction& i, int lane, uint32_t address, uint32_t bytes);
  // begin_copy: a copy to these bytes was issued. end_copy: the copy has written them, and the lane has waited for it.
  // No thread may access the bytes in between.
  void begin_copy(const Warp& w, const Instruction& i, int lane, uint32_t address, uint32_t bytes, Proxy proxy);
  void end_copy(const Warp& w, int lane, uint32_t address, uint32_t bytes);
  // Ends a copy that the agent has made, and sets the agent's element of `clock` to its time.
  void end_agent_copy(uint32_t address, uint32_t bytes, Clock& clock);

  Clock& clock(int warp) { return clocks_[static_cast<size_t>(warp)]; }
  void tick(int warp);        // advances the warp's time
  void fence(const Warp& w);  // fence.proxy.async
  // Whether the lane has executed fence.proxy.async after the time `clock` of its warp.
  bool fenced(int warp, int lane, uint32_t clock) const;

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
    unsigned char atomic = 0;
  };
  void check_states(const Warp& w, const Instruction& i, uint32_t at, uint32_t bytes) const;
  void bounds(const Warp& w, const Instruction& i, uint32_t address, uint32_t bytes) const;
  void race(const Warp& w, const Instruction& i, int lane, const char* what, uint32_t granule, uint32_t other) const;
  void check_write(const Warp& w, const Instruction& i, int lane, uint32_t granule, unsigned touched);

  // A granule is 4 bytes.
  std::vector<unsigned char> bytes_, states_;
  std::vector<Write> writes_;  // the last write of each granule
  // For each warp, its last read of each granule: clock * 64 + lane, or clock * 64 + 32 for several lanes.
  std::vector<std::vector<uint32_t>> reads_;
  std::vector<Clock> clocks_;      // by warp, then the agent's
  std::vector<uint32_t> ordered_;  // by warp: accesses of its lanes before this time are ordered before later ones
  std::vector<uint32_t> fences_;   // by thread: the time of its warp after its last fence.proxy.async
  int warps_ = 0;
};

}  // namespace simulator
