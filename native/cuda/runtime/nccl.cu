// Collectives by NCCL. The library is loaded at run time, because only training on several GPUs needs it. HEDDLE_NCCL
// names a library outside the default path. The declarations and constants are those of nccl.h. The constants have not
// changed since NCCL 2.0, apart from bfloat16, which came with 2.10.
#include <cstdlib>
#include <cstring>

#include "cuda/runtime/device.h"
#include "cuda/runtime/launch.cuh"
#include "runtime/collective.h"
#include "core/error.h"
#include "core/platform/library.h"

namespace heddle {
namespace cuda {
namespace {

struct UniqueId {
  char bytes[collective_id_bytes];
};
using Communicator = struct ncclComm*;
constexpr int nccl_uint8 = 1, nccl_float32 = 7, nccl_float64 = 8, nccl_bfloat16 = 9, nccl_sum = 0, nccl_success = 0;

struct Nccl {
  int (*get_unique_id)(UniqueId*);
  int (*init_rank)(Communicator*, int size, UniqueId, int rank);
  int (*all_reduce)(const void*, void*, size_t, int type, int op, Communicator, cudaStream_t);
  int (*reduce)(const void*, void*, size_t, int type, int op, int root, Communicator, cudaStream_t);
  int (*broadcast)(const void*, void*, size_t, int type, int root, Communicator, cudaStream_t);
  int (*group_start)();
  int (*group_end)();
  int (*destroy)(Communicator);
  const char* (*error_string)(int);
};

const Nccl& nccl() {
  static const Nccl loaded = [] {  // if the initializer throws, the next call tries again
    const char* named = std::getenv("HEDDLE_NCCL");
    const bool own = named && *named;
    const Library library("nccl: expected NCCL to be installed (or named by HEDDLE_NCCL)",
        own ? std::vector<std::string>{named} : std::vector<std::string>{"libnccl.so.2", "libnccl.so"});
    Nccl n;
    library.find("ncclGetUniqueId", n.get_unique_id);
    library.find("ncclCommInitRank", n.init_rank);
    library.find("ncclAllReduce", n.all_reduce);
    library.find("ncclReduce", n.reduce);
    library.find("ncclBroadcast", n.broadcast);
    library.find("ncclGroupStart", n.group_start);
    library.find("ncclGroupEnd", n.group_end);
    library.find("ncclCommDestroy", n.destroy);
    library.find("ncclGetErrorString", n.error_string);
    return n;
  }();
  return loaded;
}

void check(int status, const char* call) {
  if (status != nccl_success) throw internal_error(std::string(call) + ": " + nccl().error_string(status));
}

class NcclCollective final : public Collective {
 public:
  NcclCollective(std::shared_ptr<Accelerator> accelerator, const UniqueId& id, int rank, int size)
      : accelerator_(std::move(accelerator)), rank_(rank), size_(size) {
    device().make_current();
    check(nccl().init_rank(&communicator_, size, id, rank), "ncclCommInitRank");
  }
  ~NcclCollective() override { nccl().destroy(communicator_); }

  void all_reduce_f32(void* data, size_t count) override { all_reduce(data, count, nccl_float32); }
  void all_reduce_f64(void* data, size_t count) override { all_reduce(data, count, nccl_float64); }
  // One ncclReduce or ncclBroadcast per span, because ncclReduceScatter and ncclAllGather require parts of equal size.
  // NCCL runs all calls of a group as one operation.
  void reduce_scatter(const CollectedByRank& parts, Collected type) override {
    grouped(parts, [&](const CollectedSpan& span, int root) {
      check(nccl().reduce(
                span.data, span.data, span.count, type_of(type), nccl_sum, root, communicator_, device().stream()),
          "ncclReduce");
    });
  }
  void all_gather(const CollectedByRank& parts, Collected type) override {
    grouped(parts, [&](const CollectedSpan& span, int root) {
      check(nccl().broadcast(span.data, span.data, span.count, type_of(type), root, communicator_, device().stream()),
          "ncclBroadcast");
    });
  }
  int rank() const override { return rank_; }
  int size() const override { return size_; }
  // Queued on the lane's stream, whose order replaces finish().
  void start(const float* value, const RankRanges& ranges, float* own, bool add) override {
    if (add) throw internal_error("ncclReduce: expected sums that overwrite their target");
    device().make_current();
    queue([=] {
      check(nccl().group_start(), "ncclGroupStart");
      for (int r = ranges.first; r < ranges.first + static_cast<int>(ranges.ends.size()); ++r) {
        const RankRanges::Range range = ranges.of(r);
        if (range.begin == range.end) continue;
        check(
            nccl().reduce(value + range.begin, r == rank_ ? own : nullptr, static_cast<size_t>(range.end - range.begin),
                nccl_float32, nccl_sum, r, communicator_, device().stream()),
            "ncclReduce");
      }
      check(nccl().group_end(), "ncclGroupEnd");
    });
  }
  void gather(const Fill& fill, const RankRanges& ranges, size_t element, void* whole) override {
    device().make_current();
    const RankRanges::Range own = ranges.of(rank_);
    unsigned char* const begin = static_cast<unsigned char*>(whole);
    if (own.begin < own.end) fill(begin + static_cast<size_t>(own.begin) * element);
    queue([=] {
      check(nccl().group_start(), "ncclGroupStart");
      for (int r = ranges.first; r < ranges.first + static_cast<int>(ranges.ends.size()); ++r) {
        const RankRanges::Range range = ranges.of(r);
        if (range.begin == range.end) continue;
        unsigned char* const at = begin + static_cast<size_t>(range.begin) * element;
        check(nccl().broadcast(at, at, static_cast<size_t>(range.end - range.begin) * element, nccl_uint8, r,
                  communicator_, device().stream()),
            "ncclBroadcast");
      }
      check(nccl().group_end(), "ncclGroupEnd");
    });
  }
  void finish() override {}
  void abandon() override {}

 private:
  // Makes calls of NCCL between kernels of a program. The library that the emulated device uses computes at once, so
  // there the calls wait for their turn on the stream.
  template <class Calls> void queue(const Calls& calls) {
#if HEDDLE_EMULATED
    emulator::enqueue(device().stream(), calls);
#else
    calls();
#endif
  }
  static int type_of(Collected type) {
    return type == Collected::f32 ? nccl_float32 : type == Collected::bf16 ? nccl_bfloat16 : nccl_uint8;
  }
  template <class Call> void grouped(const CollectedByRank& parts, const Call& call) {
    device().make_current();
    check(nccl().group_start(), "ncclGroupStart");
    for (size_t r = 0; r < parts.size(); ++r)
      for (const CollectedSpan& span : parts[r])
        if (span.count) call(span, static_cast<int>(r));
    check(nccl().group_end(), "ncclGroupEnd");
  }
  CudaAccelerator& device() { return static_cast<CudaAccelerator&>(*accelerator_); }
  void all_reduce(void* data, size_t count, int type) {
    device().make_current();
    check(nccl().all_reduce(data, data, count, type, nccl_sum, communicator_, device().stream()), "ncclAllReduce");
  }

  std::shared_ptr<Accelerator> accelerator_;
  int rank_, size_;
  Communicator communicator_ = nullptr;
};

}  // namespace
}  // namespace cuda

std::string collective_id() {
  cuda::UniqueId id;
  cuda::check(cuda::nccl().get_unique_id(&id), "ncclGetUniqueId");
  return std::string(id.bytes, sizeof id.bytes);
}

std::shared_ptr<Collective> join_collective(
    std::shared_ptr<Accelerator> accelerator, const std::string& id, int rank, int size) {
  if (!accelerator) throw invalid_argument("world: expected a CUDA device, got the CPU");
  if (id.size() != collective_id_bytes)
    throw invalid_argument(
        "id: expected " + std::to_string(collective_id_bytes) + " bytes, got " + std::to_string(id.size()));
  if (size < 1 || rank < 0 || rank >= size)
    throw invalid_argument("rank: expected one of 0 to " + std::to_string(size - 1) + ", got " + std::to_string(rank));
  cuda::UniqueId unique;
  std::memcpy(unique.bytes, id.data(), sizeof unique.bytes);
  return std::make_shared<cuda::NcclCollective>(std::move(accelerator), unique, rank, size);
}

}  // namespace heddle
