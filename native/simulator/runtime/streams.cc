// Streams, events and graphs. Work runs at the latest possible moment: when the program waits for it. This reveals
// missing waits, and host memory that is reused too early.
#include <chrono>
#include <deque>
#include <map>
#include <stdexcept>

#include "simulator/runtime/state.h"

using namespace simulator;

struct CUgraph_st {
  std::vector<Work> work;
};
struct CUgraphExec_st {
  std::vector<Work> work;
};
struct CUevent_st {
  cudaStream_t stream = nullptr;
  uint64_t recorded = 0;  // number of records that were queued
  uint64_t reached = 0;   // number of records that have run
  std::chrono::steady_clock::time_point when;
};
struct CUstream_st {
  std::deque<Work> queue;
  CUgraph_st* captured = nullptr;  // the graph that the stream captures, or null
  bool last_is_kernel = false;     // the last work that was queued or captured is a kernel
  bool running = false;
};

namespace simulator {
namespace {
std::map<cudaStream_t, std::unique_ptr<CUstream_st>>& streams() {
  static auto& all = *new std::map<cudaStream_t, std::unique_ptr<CUstream_st>>;
  return all;
}
}  // namespace

cudaError_t enqueue(cudaStream_t stream, Work work, bool is_kernel) {
  if (!streams().count(stream)) return report(cudaErrorInvalidResourceHandle);  // the default stream is not modeled
  stream->last_is_kernel = is_kernel;
  if (stream->captured) stream->captured->work.push_back(std::move(work));
  else stream->queue.push_back(std::move(work));
  return cudaSuccess;
}

bool follows_kernel(cudaStream_t stream) { return streams().count(stream) && stream->last_is_kernel; }

cudaError_t drain(cudaStream_t stream) {
  if (!streams().count(stream)) return report(cudaErrorInvalidResourceHandle);
  if (stream->captured) return report(cudaErrorStreamCaptureUnsupported);
  while (!stream->queue.empty()) {
    const Work work = std::move(stream->queue.front());
    stream->queue.pop_front();
    try {
      work();
    } catch (const std::exception& failure) {
      stream->queue.clear();  // on a real device, later work fails too
      return report_failure(failure.what());
    }
  }
  return cudaSuccess;
}

cudaError_t drain_all() {
  for (auto& s : streams())
    if (!s.first->captured) {
      const cudaError_t status = drain(s.first);
      if (status != cudaSuccess) return status;
    }
  return cudaSuccess;
}

}  // namespace simulator

using Hold = std::lock_guard<std::recursive_mutex>;

SIMULATOR_API cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  Hold hold(lock());
  auto made = std::make_unique<CUstream_st>();
  *stream = made.get();
  streams()[*stream] = std::move(made);
  return cudaSuccess;
}
SIMULATOR_API cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  Hold hold(lock());
  const cudaError_t status = drain(stream);
  streams().erase(stream);
  return status;
}
SIMULATOR_API cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  Hold hold(lock());
  return drain(stream);
}
SIMULATOR_API cudaError_t cudaStreamQuery(cudaStream_t stream) {
  Hold hold(lock());
  return drain(stream);
}
SIMULATOR_API cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  Hold hold(lock());
  if (!streams().count(stream) || stream->captured) return report(cudaErrorIllegalState);
  stream->captured = new CUgraph_st;
  stream->last_is_kernel = false;
  return cudaSuccess;
}
SIMULATOR_API cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  Hold hold(lock());
  if (!streams().count(stream) || !stream->captured) return report(cudaErrorIllegalState);
  *graph = stream->captured;
  stream->captured = nullptr;
  stream->last_is_kernel = false;
  return cudaSuccess;
}
SIMULATOR_API cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  Hold hold(lock());
  if (!streams().count(stream)) return report(cudaErrorInvalidResourceHandle);
  *status = stream->captured ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
  return cudaSuccess;
}
SIMULATOR_API cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long) {
  Hold hold(lock());
  *exec = new CUgraphExec_st{graph->work};
  return cudaSuccess;
}
SIMULATOR_API cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
SIMULATOR_API cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  delete exec;
  return cudaSuccess;
}
SIMULATOR_API cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  Hold hold(lock());
  for (const Work& work : exec->work) {
    const cudaError_t status = enqueue(stream, work);  // not `is_kernel`: the next kernel follows a graph
    if (status != cudaSuccess) return status;
  }
  return cudaSuccess;
}

SIMULATOR_API cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new CUevent_st;
  return cudaSuccess;
}
SIMULATOR_API cudaError_t cudaEventDestroy(cudaEvent_t event) {
  Hold hold(lock());
  // A record that is still queued points to the event, so it must run before the event is deleted.
  const cudaError_t status = event->reached < event->recorded ? drain(event->stream) : cudaSuccess;
  delete event;
  return status;
}
SIMULATOR_API cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  Hold hold(lock());
  event->stream = stream;
  const uint64_t number = ++event->recorded;
  return enqueue(stream, [event, number] {
    event->reached = number;
    event->when = std::chrono::steady_clock::now();
  });
}
SIMULATOR_API cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  Hold hold(lock());
  return event->reached < event->recorded ? drain(event->stream) : cudaSuccess;
}
SIMULATOR_API cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  Hold hold(lock());
  const uint64_t number = event->recorded;
  return enqueue(stream, [event, number, from = event->stream] {
    if (event->reached < number && drain(from) != cudaSuccess)
      throw std::runtime_error("a stream waits for failed work");
  });
}
SIMULATOR_API cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end) {
  Hold hold(lock());
  if (begin->reached < begin->recorded || end->reached < end->recorded) return report(cudaErrorNotReady);
  *milliseconds = std::chrono::duration<float, std::milli>(end->when - begin->when).count();
  return cudaSuccess;
}
