// A fake libnccl.so.2. All ranks are threads of one process, and device memory is host memory. The collectives are
// synchronous and sum in rank order. The calls of a group run one by one, because all ranks make them in the same
// order. With FAKE_NCCL_ALONE, a rank does not wait for the others, which may be other processes. FAKE_NCCL_STATUS is
// the result of ncclAllReduce, which then does nothing.
#include <condition_variable>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <string>
#include <vector>

namespace {

// The ranks of a communicator.
struct Group {
  std::mutex mutex;
  std::condition_variable changed;
  int size = 0, arrived = 0, joined = 0;
  long round = 0;                 // number of completed barriers
  std::vector<const void*> data;  // operand of each rank
  std::vector<double> sums;
};
std::mutex groups_mutex;
std::map<std::string, Group> groups;
int ids = 0;

constexpr int uint8 = 1, float32 = 7, float64 = 8, bfloat16 = 9;  // ncclDataType_t
constexpr int sum = 0;                                            // ncclRedOp_t
constexpr int invalid_argument = 4;                               // ncclResult_t

// Truncates floats. In the tests, the sums are small integers, which bf16 represents exactly.
struct Bf16 {
  uint16_t bits = 0;
  explicit Bf16(float value) {
    uint32_t wide;
    std::memcpy(&wide, &value, sizeof wide);
    bits = static_cast<uint16_t>(wide >> 16);
  }
  operator double() const {
    const uint32_t wide = static_cast<uint32_t>(bits) << 16;
    float value;
    std::memcpy(&value, &wide, sizeof value);
    return value;
  }
};

template <class T> void add(const Group& g, size_t count, std::vector<double>& sums) {
  sums.assign(count, 0);
  for (const void* of_rank : g.data)
    for (size_t i = 0; i < count; ++i) sums[i] += static_cast<const T*>(of_rank)[i];
}

// A barrier of all ranks. The last rank to arrive calls `last` and releases the others.
template <class F> void meet(Group& g, F last) {
  std::unique_lock<std::mutex> lock(g.mutex);
  const long mine = g.round;
  if (++g.arrived == g.size) {
    last();
    g.arrived = 0;
    ++g.round;
    g.changed.notify_all();
  } else {
    g.changed.wait(lock, [&] { return g.round != mine; });
  }
}

}  // namespace

extern "C" {

struct UniqueId {
  char bytes[128];
};
struct ncclComm {
  Group* group;
  int rank;
};

int ncclGetUniqueId(UniqueId* id) {
  std::memset(id->bytes, 0, sizeof id->bytes);
  std::lock_guard<std::mutex> lock(groups_mutex);
  const std::string name = "fake " + std::to_string(++ids);
  std::memcpy(id->bytes, name.data(), name.size());
  return 0;
}

int ncclCommInitRank(ncclComm** out, int size, UniqueId id, int rank) {
  if (std::strncmp(id.bytes, "fake ", 5) != 0) return invalid_argument;
  Group* group;
  {
    std::lock_guard<std::mutex> lock(groups_mutex);
    group = &groups[id.bytes];
    group->size = std::getenv("FAKE_NCCL_ALONE") ? 1 : size;
    group->data.resize(static_cast<size_t>(size));
  }
  meet(*group, [] {});
  *out = new ncclComm{group, rank};
  return 0;
}

// NCCL queues its work on a stream. This fake computes at once, so it relies on the runtime, which finishes earlier
// work on the stream before it calls NCCL.
int ncclAllReduce(const void* from, void* to, size_t count, int type, int op, ncclComm* comm, void*) {
  if ((type != float32 && type != float64 && type != bfloat16) || op != sum) return invalid_argument;
  const char* status = std::getenv("FAKE_NCCL_STATUS");
  if (status && *status) return std::atoi(status);
  Group& g = *comm->group;
  g.data[static_cast<size_t>(comm->rank)] = from;
  meet(g, [&] {
    if (type == float32) add<float>(g, count, g.sums);
    else if (type == float64) add<double>(g, count, g.sums);
    else add<Bf16>(g, count, g.sums);
  });
  for (size_t i = 0; i < count; ++i) {
    if (type == float32) static_cast<float*>(to)[i] = static_cast<float>(g.sums[i]);
    else if (type == float64) static_cast<double*>(to)[i] = g.sums[i];
    else static_cast<Bf16*>(to)[i] = Bf16(static_cast<float>(g.sums[i]));
  }
  meet(g, [] {});  // no rank may overwrite the sums while another reads them
  return 0;
}

// Only the root's `to` is written.
int ncclReduce(const void* from, void* to, size_t count, int type, int op, int root, ncclComm* comm, void*) {
  if ((type != float32 && type != bfloat16) || op != sum) return invalid_argument;
  Group& g = *comm->group;
  g.data[static_cast<size_t>(comm->rank)] = from;
  meet(g, [&] { type == float32 ? add<float>(g, count, g.sums) : add<Bf16>(g, count, g.sums); });
  for (size_t i = 0; comm->rank == root && i < count; ++i) {
    if (type == float32) static_cast<float*>(to)[i] = static_cast<float>(g.sums[i]);
    else static_cast<Bf16*>(to)[i] = Bf16(static_cast<float>(g.sums[i]));
  }
  meet(g, [] {});
  return 0;
}

int ncclBroadcast(const void* from, void* to, size_t count, int type, int root, ncclComm* comm, void*) {
  if (type != uint8) return invalid_argument;
  Group& g = *comm->group;
  g.data[static_cast<size_t>(comm->rank)] = from;
  meet(g, [] {});
  if (comm->rank != root) std::memcpy(to, g.data[static_cast<size_t>(root)], count);
  meet(g, [] {});  // the root may not write to its memory while others read it
  return 0;
}

int ncclGroupStart() { return 0; }
int ncclGroupEnd() { return 0; }

int ncclCommDestroy(ncclComm* comm) {
  delete comm;
  return 0;
}
int ncclCommAbort(ncclComm* comm) { return ncclCommDestroy(comm); }
const char* ncclGetErrorString(int status) { return status == invalid_argument ? "invalid argument" : "unhandled"; }
}
