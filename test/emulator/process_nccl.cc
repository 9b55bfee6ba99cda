// A fake libnccl.so.2 whose ranks are processes of one machine. They exchange numbers through a shared file, in pieces,
// and sum in rank order. As in NCCL, a call waits forever for a rank that has ended.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

namespace {

constexpr int most_ranks = 8;
constexpr size_t slot_bytes = 1 << 16;
constexpr int uint8 = 1, float32 = 7, float64 = 8, sum = 0;  // ncclDataType_t, ncclRedOp_t
constexpr int system_error = 2, invalid_argument = 4;        // ncclResult_t

struct Shared {
  std::atomic<int> arrived;
  std::atomic<long> round;  // number of completed barriers
  unsigned char slots[most_ranks][slot_bytes];
};

}  // namespace

extern "C" {

struct UniqueId {
  char bytes[128];
};
struct ncclComm {
  Shared* shared;
  int rank, size;
};

}  // extern "C"

namespace {

void meet(const ncclComm& comm) {
  Shared& shared = *comm.shared;
  const long mine = shared.round;
  if (++shared.arrived == comm.size) {
    shared.arrived = 0;
    ++shared.round;
    return;
  }
  while (shared.round == mine) usleep(50);
}

// Calls use(at, bytes) for each piece, when every rank's piece is in its slot.
template <class Use> void exchange(const ncclComm& comm, const void* from, size_t bytes, const Use& use) {
  for (size_t at = 0; at < bytes; at += slot_bytes) {
    const size_t piece = std::min(slot_bytes, bytes - at);
    std::memcpy(comm.shared->slots[comm.rank], static_cast<const unsigned char*>(from) + at, piece);
    meet(comm);
    use(at, piece);
    meet(comm);  // no rank may overwrite its slot while another reads it
  }
}

template <class T> void add(const ncclComm& comm, void* to, size_t at, size_t bytes) {
  T* sums = reinterpret_cast<T*>(static_cast<unsigned char*>(to) + at);
  for (size_t i = 0; i < bytes / sizeof(T); ++i) {
    T total = 0;
    for (int r = 0; r < comm.size; ++r) total += reinterpret_cast<const T*>(comm.shared->slots[r])[i];
    sums[i] = total;
  }
}

int sum_to(const ncclComm& comm, const void* from, void* to, size_t count, int type, int op) {
  if ((type != float32 && type != float64) || op != sum) return invalid_argument;
  exchange(comm, from, count * (type == float32 ? 4 : 8), [&](size_t at, size_t bytes) {
    if (to == nullptr) return;
    if (type == float32) add<float>(comm, to, at, bytes);
    else add<double>(comm, to, at, bytes);
  });
  return 0;
}

}  // namespace

extern "C" {

int ncclGetUniqueId(UniqueId* id) {
  std::memset(id->bytes, 0, sizeof id->bytes);
  std::string name = "/tmp/heddle-nccl-XXXXXX";
  const int file = mkstemp(name.data());
  if (file < 0 || ftruncate(file, sizeof(Shared)) != 0) return system_error;
  close(file);
  std::memcpy(id->bytes, name.data(), name.size());
  return 0;
}

int ncclCommInitRank(ncclComm** out, int size, UniqueId id, int rank) {
  if (size > most_ranks) return invalid_argument;
  const int file = open(id.bytes, O_RDWR);
  void* const shared = mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (shared == MAP_FAILED) return system_error;
  *out = new ncclComm{static_cast<Shared*>(shared), rank, size};
  meet(**out);
  if (rank == 0) unlink(id.bytes);
  return 0;
}

int ncclAllReduce(const void* from, void* to, size_t count, int type, int op, ncclComm* comm, void*) {
  return sum_to(*comm, from, to, count, type, op);
}

int ncclReduce(const void* from, void* to, size_t count, int type, int op, int root, ncclComm* comm, void*) {
  return sum_to(*comm, from, comm->rank == root ? to : nullptr, count, type, op);
}

int ncclBroadcast(const void* from, void* to, size_t count, int type, int root, ncclComm* comm, void*) {
  if (type != uint8) return invalid_argument;
  exchange(*comm, from, count, [&](size_t at, size_t bytes) {
    std::memcpy(static_cast<unsigned char*>(to) + at, comm->shared->slots[root], bytes);
  });
  return 0;
}

int ncclGroupStart() { return 0; }
int ncclGroupEnd() { return 0; }

int ncclCommDestroy(ncclComm* comm) {
  delete comm;
  return 0;
}
const char* ncclGetErrorString(int status) { return status == invalid_argument ? "invalid argument" : "unhandled"; }
}
