// Collectives by NCCL. The library is loaded at run time, because only training on several GPUs needs it. HEDDLE_NCCL
// names a library outside the default path. The declarations and constants are those of nccl.h. The constants have not
// changed since NCCL 2.0, apart from two that came later: bfloat16 with 2.10, and the remote error with 2.13.
#include <algorithm>
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
constexpr int nccl_uint8 = 1, nccl_float32 = 7, nccl_float64 = 8, nccl_bfloat16 = 9, nccl_sum = 0;
constexpr int nccl_success = 0, nccl_cuda_error = 1, nccl_system_error = 2, nccl_remote_error = 6;

struct Nccl {
  int (*get_unique_id)(UniqueId*);
  int (*init_rank)(Communicator*, int size, UniqueId, int rank);
  int (*all_reduce)(const void*, void*, size_t, int type, int op, Communicator, cudaStream_t);
  int (*reduce)(const void*, void*, size_t, int type, int op, int root, Communicator, cudaStream_t);
  int (*broadcast)(const void*, void*, size_t, int type, int root, Communicator, cudaStream_t);
  int (*group_start)();
  int (*group_end)();
  int (*destroy)(Communicator);
  int (*abort)(Communicator);  // null before NCCL 2.4
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
    n.abort = nullptr;
    if (library.has("ncclCommAbort")) library.find("ncclCommAbort", n.abort);
    return n;
  }();
  return loaded;
}

void check(int status, const char* call) {
  if (status == nccl_success) return;
  const std::string what = std::string(call) + ": " + nccl().error_string(status);
  if (status == nccl_system_error || status == nccl_remote_error) throw Error("IO", what);
  throw internal_error(what);
}

class NcclCollective final : public Collective {
 public:
  NcclCollective(std::shared_ptr<Accelerator> accelerator, const UniqueId& id, int rank, int size)
      : accelerator_(std::move(accelerator)), rank_(rank), size_(size) {
    device().make_current();
    check(nccl().init_rank(&communicator_, size, id, rank), "ncclCommInitRank");
  }
  ~NcclCollective() override {
    // ncclCommDestroy waits for the device, and therefore forever if it is lost.
    if (device().is_lost()) {
      if (nccl().abort) nccl().abort(communicator_);
      return;
    }
    try {
      device().make_current();  // CUDA would otherwise open device 0 for a thread that has no device yet
    } catch (const Error&) {
      return;
    }
    nccl().destroy(communicator_);
    for (const cudaEvent_t event : {ready_, computed_, summed_})
      if (event) cudaEventDestroy(event);
    if (sums_stream_) cudaStreamDestroy(sums_stream_);
  }

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
  // Queued on the stream of the lane (runtime/lane.h), because the memory of `value` is reused after the call.
  void start(const float* value, const RankRanges& ranges, float* own, bool add) override {
    if (add) throw internal_error("ncclReduce: expected sums that overwrite their target");
    join_streams();
    device().make_current();
    queue(device().stream(), [=] {
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
  // Queued on the lane's stream, because the run uses the value next.
  void gather(const Fill& fill, const RankRanges& ranges, size_t element, void* whole) override {
    join_streams();
    device().make_current();
    const RankRanges::Range own = ranges.of(rank_);
    unsigned char* const begin = static_cast<unsigned char*>(whole);
    if (own.begin < own.end) fill(begin + static_cast<size_t>(own.begin) * element);
    queue(device().stream(), [=] {
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
  // The run waits for the device before it ends, so its tensors need not be held.
  void hold(std::shared_ptr<const void>) override { was_joined_ = false; }
  // Queued on a second stream, so that the lane's stream can go on meanwhile.
  void start_in_place(void* value, DType type, size_t count, const RankRanges* ranges) override {
    const size_t element = type == DType::bf16 ? 2 : 4;
    batch_.push_back({static_cast<unsigned char*>(value), count, element,
        type == DType::bf16 ? nccl_bfloat16 : nccl_float32, ranges ? *ranges : RankRanges{}});
    batch_bytes_ += count * element;
    if (batch_bytes_ >= least_batch_bytes(size_)) queue_batch();
  }
  void finish() override { join_streams(); }
  void abandon() override {
    batch_.clear(), batch_bytes_ = 0, was_joined_ = false;
    if (!is_summing_ || device().is_lost()) return;
    // The run's last wait for the lane's stream then covers the queued sums.
    cudaEventRecord(summed_, sums_stream_);
    cudaStreamWaitEvent(device().stream(), summed_, 0);
    is_summing_ = false;
  }
  double take_waited_seconds() override {
    if (!was_joined_) return 0;
    was_joined_ = false;
    device().make_current();
    float milliseconds = 0;  // negative if the sums ended before the computation
    check_cuda(cudaEventElapsedTime(&milliseconds, computed_, summed_), "cudaEventElapsedTime");
    return std::max(0.0, static_cast<double>(milliseconds) / 1000);
  }

 private:
  // Numbers to sum in place. Without ranges, every rank receives all sums.
  struct InPlace {
    unsigned char* data;
    size_t count, element;
    int type;
    RankRanges ranges;
  };
  void queue_sum(const InPlace& sum) {
    if (sum.ranges.ends.empty())
      return check(nccl().all_reduce(sum.data, sum.data, sum.count, sum.type, nccl_sum, communicator_, sums_stream_),
          "ncclAllReduce");
    for (int r = 0; r < size_; ++r) {
      const RankRanges::Range range = sum.ranges.of(r);
      if (range.begin == range.end) continue;
      unsigned char* const from = sum.data + static_cast<size_t>(range.begin) * sum.element;
      check(nccl().reduce(from, from, static_cast<size_t>(range.end - range.begin), sum.type, nccl_sum, r,
                communicator_, sums_stream_),
          "ncclReduce");
    }
  }
  void queue_batch() {
    device().make_current();
    open_stream();
    check_cuda(cudaEventRecord(ready_, device().stream()), "cudaEventRecord");
    check_cuda(cudaStreamWaitEvent(sums_stream_, ready_, 0), "cudaStreamWaitEvent");
    is_summing_ = true;
    queue(sums_stream_, [this, batch = std::move(batch_)] {
      check(nccl().group_start(), "ncclGroupStart");
      for (const InPlace& sum : batch) queue_sum(sum);
      check(nccl().group_end(), "ncclGroupEnd");
    });
    batch_.clear(), batch_bytes_ = 0;
  }
  void open_stream() {
    if (!sums_stream_) check_cuda(cudaStreamCreateWithFlags(&sums_stream_, cudaStreamNonBlocking), "cudaStreamCreate");
    if (!ready_) check_cuda(cudaEventCreateWithFlags(&ready_, cudaEventDisableTiming), "cudaEventCreate");
    if (!computed_) check_cuda(cudaEventCreateWithFlags(&computed_, cudaEventDefault), "cudaEventCreate");
    if (!summed_) check_cuda(cudaEventCreateWithFlags(&summed_, cudaEventDefault), "cudaEventCreate");
  }
  // Makes later work of the lane's stream, which uses the same communicator, wait for the sums of the second stream.
  void join_streams() {
    if (!batch_.empty()) queue_batch();
    if (!is_summing_) return;
    device().make_current();
    check_cuda(cudaEventRecord(computed_, device().stream()), "cudaEventRecord");
    check_cuda(cudaEventRecord(summed_, sums_stream_), "cudaEventRecord");
    check_cuda(cudaStreamWaitEvent(device().stream(), summed_, 0), "cudaStreamWaitEvent");
    is_summing_ = false, was_joined_ = true;
  }
  // Runs calls of NCCL, which queue their work on the stream. The library that the emulated device uses computes during
  // the call instead. There, the calls themselves are queued on the stream.
  template <class Calls> void queue(cudaStream_t stream, const Calls& calls) {
#if HEDDLE_EMULATED
    emulator::enqueue(stream, calls);
#else
    (void)stream;
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
  void check(int status, const char* call) {
    // NCCL does not say which error CUDA reported. A lost device reports it again.
    if (status == nccl_cuda_error) {
      const cudaError_t error = cudaStreamQuery(device().stream());
      if (error != cudaErrorNotReady) check_cuda(error, call);
    }
    cuda::check(status, call);
  }
  CudaAccelerator& device() { return static_cast<CudaAccelerator&>(*accelerator_); }
  void all_reduce(void* data, size_t count, int type) {
    device().make_current();
    check(nccl().all_reduce(data, data, count, type, nccl_sum, communicator_, device().stream()), "ncclAllReduce");
  }

  std::shared_ptr<Accelerator> accelerator_;
  int rank_, size_;
  Communicator communicator_ = nullptr;
  std::vector<InPlace> batch_;
  size_t batch_bytes_ = 0;
  bool is_summing_ = false;  // the second stream has sums that the lane's stream does not wait for yet
  bool was_joined_ = false;  // computed_ and summed_ belong to the current run
  cudaStream_t sums_stream_ = nullptr;
  cudaEvent_t ready_ = nullptr;     // the values of the last batch are computed
  cudaEvent_t computed_ = nullptr;  // the lane's stream has computed everything before finish()
  cudaEvent_t summed_ = nullptr;    // the second stream has computed all sums before finish()
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
