// The JavaScript handle of the ranks that MPI connects. A call that starts an operation returns a promise. It settles
// on the JavaScript thread after the thread of MPI calls has run the operation.
#pragma once
#include <napi.h>

#include <functional>
#include <memory>
#include <unordered_set>

#include "binding/handle.h"
#include "distributed/rank_thread_sums.h"

namespace heddle {

// class NativeRanks { constructor(libraries, silenceSeconds, onLost); join(); allReduce(tensors, type);
// reduceScatter(tensorsByRank, type); allGather(tensorsByRank); sum(numbers); broadcast(tensors, root); gather(bytes);
// barrier(); leave(); end(code, seconds); cpus() }. Only one NativeRanks of a process can join.
class RanksHandle : public Handle<RanksHandle> {
 public:
  static const napi_type_tag tag;
  static constexpr const char* class_name = "NativeRanks";
  static Napi::Function define(Napi::Env env);
  explicit RanksHandle(const Napi::CallbackInfo& info);
  ~RanksHandle() override;
  // Returns the object by which a lane's programs sum over the ranks. Throws DISPOSED unless the ranks have connected.
  // `cancellation` is that of the lane. It ends waiting when the lane stops.
  std::shared_ptr<RankSums> sums(const Cancellation& cancellation) const;

 private:
  struct Pending;  // a promise, and what settles it
  struct Channel;  // whether results can still reach the JavaScript thread
  using Result = std::function<Napi::Value(Napi::Env)>;
  // Runs on the thread of MPI calls, and returns the function that makes the promise's value on the JavaScript thread.
  using Work = std::function<Result(RankGroup&)>;

  Napi::Value join(const Napi::CallbackInfo& info);
  Napi::Value all_reduce(const Napi::CallbackInfo& info);
  Napi::Value reduce_scatter(const Napi::CallbackInfo& info);
  Napi::Value all_gather(const Napi::CallbackInfo& info);
  Napi::Value sum(const Napi::CallbackInfo& info);
  Napi::Value broadcast(const Napi::CallbackInfo& info);
  Napi::Value gather(const Napi::CallbackInfo& info);
  Napi::Value barrier(const Napi::CallbackInfo& info);
  Napi::Value leave(const Napi::CallbackInfo& info);
  Napi::Value end(const Napi::CallbackInfo& info);
  Napi::Value cpus(const Napi::CallbackInfo& info);

  // `keep` stays referenced until the promise settles.
  Napi::Value post(Napi::Env env, Work work, Napi::Value keep);
  RankThread::Job job(Pending* pending, Work work);
  Pending* pending(Napi::Env env, Napi::Value keep);
  void settled(Napi::Env env, Pending* pending);
  void shut();
  static void cleanup(void* self);

  Napi::Env env_;
  std::shared_ptr<RankThread> thread_;  // null until join()
  int rank_ = 0, size_ = 0;             // size_ is 0 until all ranks have connected
  std::vector<std::string> libraries_;
  double silence_seconds_ = 0;
  Napi::ThreadSafeFunction settle_;
  std::shared_ptr<Channel> channel_;
  bool shut_ = false;
  std::unordered_set<Pending*> pending_;  // JavaScript thread only
};

}  // namespace heddle
