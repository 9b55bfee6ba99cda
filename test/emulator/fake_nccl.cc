// A fake libnccl.so.2, for ranks that are lanes of one process whose device memory is host memory. Its collectives are
// synchronous and sum in rank order. A group's calls run one by one, because all ranks make them in the same order.
#include <condition_variable>
#include <cstdint>
#include <cstring>
#include <map>
#include <mutex>
#include <string>
#include <vector>

namespace {

struct Group {
  std::mutex mutex;
  std::condition_variable changed;
  int size = 0, arrived = 0, joined = 0;
  long round = 0;
  std::vector<const void*> data;
  std::vector<double> sums;
};
std::mutex groups_mutex;
std::map<std::string, Group> groups;
int ids = 0;

// Sums of the tests are small integers, which bf16 holds exactly, so that truncation rounds nothing.
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
  if (std::strncmp(id.bytes, "fake ", 5) != 0) return 4;  // ncclInvalidArgument
  Group* group;
  {
    std::lock_guard<std::mutex> lock(groups_mutex);
    group = &groups[id.bytes];
    group->size = size;
    group->data.resize(static_cast<size_t>(size));
  }
  meet(*group, [] {});
  *out = new ncclComm{group, rank};
  return 0;
}

// NCCL queues its work on a stream. This fake computes at once, so earlier work on the stream must have finished. The
// runtime's order of calls guarantees that.
int ncclAllReduce(const void* from, void* to, size_t count, int type, int op, ncclComm* comm, void*) {
  if ((type != 7 && type != 8) || op != 0) return 4;
  Group& g = *comm->group;
  g.data[static_cast<size_t>(comm->rank)] = from;
  meet(g, [&] { type == 7 ? add<float>(g, count, g.sums) : add<double>(g, count, g.sums); });
  for (size_t i = 0; i < count; ++i) {
    if (type == 7) static_cast<float*>(to)[i] = static_cast<float>(g.sums[i]);
    else static_cast<double*>(to)[i] = g.sums[i];
  }
  meet(g, [] {});  // no rank may overwrite sums that another still reads
  return 0;
}

// Only the root's `to` is written.
int ncclReduce(const void* from, void* to, size_t count, int type, int op, int root, ncclComm* comm, void*) {
  if ((type != 7 && type != 9) || op != 0) return 4;
  Group& g = *comm->group;
  g.data[static_cast<size_t>(comm->rank)] = from;
  meet(g, [&] { type == 7 ? add<float>(g, count, g.sums) : add<Bf16>(g, count, g.sums); });
  for (size_t i = 0; comm->rank == root && i < count; ++i) {
    if (type == 7) static_cast<float*>(to)[i] = static_cast<float>(g.sums[i]);
    else static_cast<Bf16*>(to)[i] = Bf16(static_cast<float>(g.sums[i]));
  }
  meet(g, [] {});
  return 0;
}

int ncclBroadcast(const void* from, void* to, size_t count, int type, int root, ncclComm* comm, void*) {
  if (type != 1) return 4;  // ncclUint8
  Group& g = *comm->group;
  g.data[static_cast<size_t>(comm->rank)] = from;
  meet(g, [] {});
  if (comm->rank != root) std::memcpy(to, g.data[static_cast<size_t>(root)], count);
  meet(g, [] {});  // no rank may write memory that another still reads
  return 0;
}

int ncclGroupStart() { return 0; }
int ncclGroupEnd() { return 0; }

int ncclCommDestroy(ncclComm* comm) {
  delete comm;
  return 0;
}
const char* ncclGetErrorString(int status) { return status == 4 ? "invalid argument" : "unhandled"; }
}
