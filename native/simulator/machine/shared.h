// The shared memory of a block. Records whether each byte was written, which threads wrote and read it last, and where
// mbarrier objects are. Finds races by vector clocks, as FastTrack (Flanagan and Freund, 2009) does.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace simulator {

struct Warp;
struct Instruction;

// A vector clock: the last known time of each warp. The last element is for the agent of asynchronous copies.
using Clock = std::vector<uint32_t>;
void join(Clock& into, const Clock& other);

constexpr uint32_t shared_begin = 1024;                     // the first address: 1 KB belongs to the system
constexpr uint64_t shared_window = uint64_t{0x7f5a} << 48;  // generic addresses of shared memory

struct AsyncBox;

// See "Parallel Synchronization and Communication Instructions: mbarrier".
struct Mbarrier {
  uint32_t expected = 0, pending = 0;
  int64_t transactions = 0;
  uint32_t phase = 0;
  Clock arriving, completed;
  int init_warp = 0, init_lane = 0;
  uint32_t init_clock = 0;
  std::vector<AsyncBox> copies;  // copies in flight that will complete transactions of this barrier
};

// A cp.async.bulk to shared memory.
struct AsyncBox {
  const Instruction* instruction = nullptr;
  uint32_t to = 0, bytes = 0;
  std::vector<unsigned char> data;  // empty: read from `from` when it completes
  uint64_t from = 0;
  uint64_t map = 0;  // a tensor map's address
  int32_t at[5] = {};
  int rank = 0;
};

class Shared {
 public:
  enum class Proxy { generic, async };
  void start(uint32_t bytes, int warps);

  uint32_t end() const { return shared_begin + static_cast<uint32_t>(bytes_.size()); }
  unsigned char* data(uint32_t address) { return bytes_.data() + (address - shared_begin); }

  // Accesses by a lane. They fail on bytes out of bounds, uninitialised bytes, bytes of a copy in flight, and races.
  void read(
      const Warp& w, const Instruction& i, int lane, uint32_t address, uint32_t bytes, Proxy proxy = Proxy::generic);
  void write(const Warp& w, const Instruction& i, int lane, uint32_t address, uint32_t bytes);
  // An atomic access. It is ordered with other atomics but not with plain accesses.
  void atomic(const Warp& w, const Instruction& i, int lane, uint32_t address, uint32_t bytes);
  // begin_copy: a copy to these bytes was issued. end_copy: it has written them. No thread may access them in between.
  void begin_copy(const Warp& w, const Instruction& i, int lane, uint32_t address, uint32_t bytes, Proxy proxy);
  void end_copy(const Warp& w, int lane, uint32_t address, uint32_t bytes);
  // Completes a copy by the agent, and sets the agent's time in `clock`.
  void end_agent_copy(uint32_t address, uint32_t bytes, Clock& clock);

  // Clocks.
  Clock& clock(int warp) { return clocks_[static_cast<size_t>(warp)]; }
  void tick(int warp);
  void fence(const Warp& w);  // fence.proxy.async
  bool fenced(int warp, int lane, uint32_t clock) const;

  std::map<uint32_t, Mbarrier> mbarriers;
  Mbarrier& mbarrier(const Warp& w, const Instruction& i, uint32_t address);
  void init_mbarrier(const Warp& w, const Instruction& i, int lane, uint32_t address, uint32_t count);

 private:
  enum State : unsigned char { empty, written, flying, object };
  struct Write {
    uint32_t clock;
    uint16_t thread;        // warp * 32 + lane; the agent: warps * 32
    unsigned char touched;  // mask of the written bytes among the four
    unsigned char async;
    unsigned char atomic = 0;
  };
  void check_states(const Warp& w, const Instruction& i, uint32_t at, uint32_t bytes) const;
  void bounds(const Warp& w, const Instruction& i, uint32_t address, uint32_t bytes) const;
  void race(const Warp& w, const Instruction& i, int lane, const char* what, uint32_t address, uint32_t other) const;
  void check_write(const Warp& w, const Instruction& i, int lane, uint32_t granule, unsigned touched);

  std::vector<unsigned char> bytes_, states_;
  std::vector<Write> writes_;  // last write of every 4 bytes
  // last read of every 4 bytes by each warp: clock * 64 + lane, or clock * 64 + 32 for several lanes
  std::vector<std::vector<uint32_t>> reads_;
  std::vector<Clock> clocks_;
  std::vector<uint32_t> fences_;  // by thread: its clock after its last fence
  int warps_ = 0;
};

}  // namespace simulator
