// The JavaScript handle of a lane. A call that queues work returns a promise. The promise settles on the JavaScript
// thread after the lane's thread has done the work.
#pragma once
#include <napi.h>

#include <functional>
#include <memory>
#include <unordered_set>
#include <vector>

#include "binding/handle.h"
#include "runtime/lane.h"
#include "core/mapping.h"
#include "core/row_order.h"

namespace heddle {

// Throws unless the tensor is in the CPU's memory or on the lane's device. Throws the tensor's error if it is unloaded
// or its copy from a file has failed. `what` names the call.
void check_place(const Storage& tensor, const Lane& lane, const char* what);

// class NativeLane { constructor(threads, cudaDevice?, allowTf32?); variants(m, n, k, a, b, c, layout);
// choose(choices); read(tensor, offset, bytes); write(tensor, offset, bytes, lent?); copy(from, to, times); settle();
// unload(tensor, why); reload(tensor); join(id, rank, size); joinRanks(ranks); allReduce(tensors | numbers);
// reduceScatter(tensorsByRank, type); allGather(tensorsByRank); arenaBytes; cast(source, offset, from, to, addend,
// count, target, at, how): see CastCall; quantizeFp8(numbers, rows, columns): see Fp8Call; crc32c(source, offset,
// bytes, before): see DigestCall; run(executable, symbols, inputs, outputs, flag, late, count, each, feed): see
// RunSeries }
class LaneHandle : public Handle<LaneHandle> {
 public:
  static const napi_type_tag tag;
  static constexpr const char* class_name = "NativeLane";
  static Napi::Function define(Napi::Env env);
  explicit LaneHandle(const Napi::CallbackInfo& info);
  ~LaneHandle() override;
  std::shared_ptr<Accelerator> accelerator() const;  // null: the CPU; throws DISPOSED
  // Returns a new tensor of this lane's device with `bytes` bytes of a file. The copy is queued with the lane's work.
  std::shared_ptr<Storage> copy_of(std::shared_ptr<Mapping> file, size_t offset, size_t bytes, RowOrder rows = {});

 private:
  struct Pending;  // a pending promise
  Napi::Value read(const Napi::CallbackInfo& info);
  Napi::Value copy(const Napi::CallbackInfo& info);
  Napi::Value cast(const Napi::CallbackInfo& info);
  Napi::Value quantize_fp8(const Napi::CallbackInfo& info);
  Napi::Value crc32c(const Napi::CallbackInfo& info);
  Napi::Value settle(const Napi::CallbackInfo& info);
  Napi::Value unload(const Napi::CallbackInfo& info);
  Napi::Value reload(const Napi::CallbackInfo& info);
  Napi::Value join(const Napi::CallbackInfo& info);
  Napi::Value join_ranks(const Napi::CallbackInfo& info);
  // The collective operations are defined in collectives.cc.
  Napi::Value all_reduce(const Napi::CallbackInfo& info);
  Napi::Value reduce_scatter(const Napi::CallbackInfo& info);
  Napi::Value all_gather(const Napi::CallbackInfo& info);
  Napi::Value write(const Napi::CallbackInfo& info);
  Napi::Value run(const Napi::CallbackInfo& info);
  Napi::Value arena_bytes(const Napi::CallbackInfo& info);
  Napi::Value is_lost(const Napi::CallbackInfo& info);
  Napi::Value variants(const Napi::CallbackInfo& info);
  Napi::Value choose(const Napi::CallbackInfo& info);

  // Queues `work` for the lane. The promise resolves with `result`. `keep` stays referenced until the promise settles.
  Napi::Value post(Napi::Env env, std::function<void(Lane&)> work, Napi::Value result, std::vector<Napi::Value> keep);
  void settled(Napi::Env env, Pending* pending);
  void shut(Napi::Env env);
  static void cleanup(void* self);

  Napi::Env env_;
  std::unique_ptr<Lane> lane_;
  Napi::ThreadSafeFunction settle_;
  std::unordered_set<Pending*> pending_;  // JavaScript thread only
};

// class AbortFlag { abort() }: runs check the flag between nodes and within long nodes.
class AbortFlagHandle : public Handle<AbortFlagHandle> {
 public:
  static const napi_type_tag tag;
  static constexpr const char* class_name = "AbortFlag";
  static Napi::Function define(Napi::Env env);
  explicit AbortFlagHandle(const Napi::CallbackInfo& info);
  AbortFlag flag;

 private:
  Napi::Value abort(const Napi::CallbackInfo& info);
};

}  // namespace heddle
