#include "binding/ranks/ranks.h"

#include <atomic>
#include <cstring>
#include <mutex>
#include <optional>

#include "binding/arrays.h"
#include "binding/guard.h"
#include "binding/init.h"
#include "binding/ranks/storage_lists.h"
#include "core/cpus.h"

namespace heddle {

const napi_type_tag RanksHandle::tag = {0x6865646a52616e6bULL, 0x7300000000000001ULL};

namespace {

std::atomic<bool> is_taken{false};  // MPI can start only once in a process

Error not_open(bool is_shut) {
  return Error("DISPOSED", std::string("world: expected a call after join() and before the environment closes, got ") +
                               (is_shut ? "a later one" : "an earlier one"));
}

SpansByRank spans_by_rank(const std::vector<Storages>& parts, const RankGroup& group, const char* what) {
  if (parts.size() != static_cast<size_t>(group.size()))
    throw invalid_argument(std::string(what) + ": expected the tensors of " + std::to_string(group.size()) +
                           " ranks, got those of " + std::to_string(parts.size()));
  SpansByRank spans;
  for (const Storages& tensors : parts) {
    spans.emplace_back();
    for (const auto& t : tensors)
      if (t->bytes()) t->forget_packed(), spans.back().push_back({t->data(), t->bytes()});
  }
  return spans;
}

}  // namespace

struct RanksHandle::Pending {
  Napi::Promise::Deferred deferred;
  Napi::Reference<Napi::Value> keep;
  Result result;  // if empty, the promise resolves with undefined
  bool failed = false;
  Failure failure{"INTERNAL", ""};
};

// Whether the environment still exists. The thread of MPI calls may outlive it, inside a library call that does not
// return. That thread uses promises and the environment only while `is_open` is true, with the mutex locked.
struct RanksHandle::Channel {
  std::mutex mutex;
  bool is_open = true;
};

Napi::Function RanksHandle::define(Napi::Env env) {
  return DefineClass(env, class_name,
      {InstanceMethod<&RanksHandle::join>("join"), InstanceMethod<&RanksHandle::all_reduce>("allReduce"),
          InstanceMethod<&RanksHandle::reduce_scatter>("reduceScatter"),
          InstanceMethod<&RanksHandle::all_gather>("allGather"), InstanceMethod<&RanksHandle::sum>("sum"),
          InstanceMethod<&RanksHandle::broadcast>("broadcast"), InstanceMethod<&RanksHandle::gather>("gather"),
          InstanceMethod<&RanksHandle::barrier>("barrier"), InstanceMethod<&RanksHandle::leave>("leave"),
          InstanceMethod<&RanksHandle::end>("end"), InstanceMethod<&RanksHandle::cpus>("cpus")});
}

RanksHandle::RanksHandle(const Napi::CallbackInfo& info)
    : Handle(info), env_(info.Env()), channel_(std::make_shared<Channel>()) {
  guard(info, [&] {
    info.This().As<Napi::Object>().TypeTag(&tag);
    if (!info[0].IsArray()) throw invalid_argument("libraries: expected an array of names, got another value");
    const Napi::Array names = info[0].As<Napi::Array>();
    for (uint32_t i = 0; i < names.Length(); ++i) {
      const Napi::Value name = names.Get(i);
      if (!name.IsString()) throw invalid_argument("libraries: expected an array of names, got another value");
      libraries_.push_back(name.As<Napi::String>().Utf8Value());
    }
    silence_seconds_ = info[1].IsNumber() ? info[1].As<Napi::Number>().DoubleValue() : 0;
    if (!(silence_seconds_ > 0))
      throw invalid_argument("silenceSeconds: expected a positive number, got another value");
    if (!info[2].IsFunction()) throw invalid_argument("onLost: expected a function, got another value");
    settle_ = Napi::ThreadSafeFunction::New(env_, info[2].As<Napi::Function>(), "heddle ranks", 0, 1);
    settle_.Unref(env_);
    napi_add_env_cleanup_hook(env_, cleanup, this);
  });
}

RanksHandle::~RanksHandle() {
  if (shut_) return;
  napi_remove_env_cleanup_hook(env_, cleanup, this);
  shut();
}

void RanksHandle::cleanup(void* self) { static_cast<RanksHandle*>(self)->shut(); }

void RanksHandle::shut() {
  if (shut_) return;
  shut_ = true;
  if (thread_) thread_->end(0, 5);
  std::lock_guard<std::mutex> lock(channel_->mutex);
  channel_->is_open = false;
  for (Pending* p : pending_) delete p;  // the environment closes, so their promises can never settle
  pending_.clear();
  settle_.Abort();
}

RanksHandle::Pending* RanksHandle::pending(Napi::Env env, Napi::Value keep) {
  Pending* made = new Pending{Napi::Promise::Deferred::New(env), {}, nullptr, false, {"INTERNAL", ""}};
  if (keep.IsObject()) made->keep = Napi::Reference<Napi::Value>::New(keep, 1);
  if (pending_.empty()) {
    settle_.Ref(env);  // keeps the event loop alive while work is pending
    Ref();
  }
  pending_.insert(made);
  return made;
}

RankThread::Job RanksHandle::job(Pending* pending, Work work) {
  return [this, channel = channel_, settle = settle_, pending, work = std::move(work)](
             RankGroup* group, std::exception_ptr why) mutable {
    Result result;
    std::optional<Failure> failure;
    try {
      if (!group) std::rethrow_exception(why);
      result = work(*group);
    } catch (...) {
      failure = describe_exception(std::current_exception());
    }
    std::lock_guard<std::mutex> lock(channel->mutex);
    if (!channel->is_open) return;
    pending->result = std::move(result);
    pending->failed = failure.has_value();
    if (failure) pending->failure = *failure;
    settle.NonBlockingCall(pending, [this](Napi::Env e, Napi::Function, Pending* p) { settled(e, p); });
  };
}

Napi::Value RanksHandle::post(Napi::Env env, Work work, Napi::Value keep) {
  if (shut_ || !thread_) throw not_open(shut_);
  Pending* made = pending(env, keep);
  const Napi::Promise promise = made->deferred.Promise();
  thread_->post(job(made, std::move(work)));
  return promise;
}

void RanksHandle::settled(Napi::Env env, Pending* pending) {
  if (pending_.erase(pending) == 0) return;
  if (pending->failed) pending->deferred.Reject(make_error(env, pending->failure));
  else pending->deferred.Resolve(pending->result ? pending->result(env) : env.Undefined());
  delete pending;
  if (pending_.empty()) {
    settle_.Unref(env);
    Unref();
  }
}

// join(): resolves with { rank, size, library } when all ranks have connected.
Napi::Value RanksHandle::join(const Napi::CallbackInfo& info) {
  return guard(info, [&]() -> Napi::Value {
    if (shut_ || thread_ || is_taken.exchange(true))
      throw Error(
          "UNSUPPORTED", "world: expected one world per process, because MPI can start only once, got a second");
    Pending* made = pending(info.Env(), info.Env().Undefined());
    const Napi::Promise promise = made->deferred.Promise();
    Work connected = [this](RankGroup& group) -> Result {
      return [this, rank = group.rank(), size = group.size(), library = group.version()](Napi::Env env) -> Napi::Value {
        rank_ = rank, size_ = size;
        Napi::Object found = Napi::Object::New(env);
        found.Set("rank", rank);
        found.Set("size", size);
        found.Set("library", library);
        return found;
      };
    };
    const auto lost = [channel = channel_, settle = settle_](const std::string& why) {
      std::lock_guard<std::mutex> lock(channel->mutex);
      if (!channel->is_open) return;
      settle.NonBlockingCall(static_cast<Pending*>(nullptr),
          [why](Napi::Env env, Napi::Function on_lost, Pending*) { on_lost.Call({Napi::String::New(env, why)}); });
    };
    thread_ = std::make_shared<RankThread>(libraries_, silence_seconds_, job(made, std::move(connected)), lost);
    return promise;
  });
}

std::shared_ptr<RankSums> RanksHandle::sums(const Cancellation& cancellation) const {
  if (shut_ || size_ == 0) throw not_open(shut_);
  return std::make_shared<RankThreadSums>(thread_, rank_, size_, cancellation);
}

// allReduce(tensors, type): adds up tensors of f32 (0) or bf16 (1) over all ranks, in place.
Napi::Value RanksHandle::all_reduce(const Napi::CallbackInfo& info) {
  return guard(info, [&] {
    const auto tensors = storages(info[0], false, "allReduce");
    const Summed type = integer(info[1], "type", 1) == 0 ? Summed::f32 : Summed::bf16;
    return post(info.Env(), [tensors, type](RankGroup& group) -> Result {
      std::vector<SummedSpan> spans;
      for (const auto& t : tensors) {
        t->forget_packed();
        spans.push_back({t->data(), t->bytes()});
      }
      group.all_reduce(spans, type);
      return nullptr;
    }, info[0]);
  });
}

// reduceScatter(tensors by rank, type): adds up all tensors of f32 (0) or bf16 (1) over all ranks, in place. Rank r
// receives only the sums of list r. Its other tensors are unchanged.
Napi::Value RanksHandle::reduce_scatter(const Napi::CallbackInfo& info) {
  return guard(info, [&] {
    const auto parts = storages_by_rank(info[0], false, "reduceScatter");
    const Summed type = integer(info[1], "type", 1) == 0 ? Summed::f32 : Summed::bf16;
    return post(info.Env(), [parts, type](RankGroup& group) -> Result {
      group.reduce_scatter(spans_by_rank(parts, group, "reduceScatter"), type);
      return nullptr;
    }, info[0]);
  });
}

// allGather(tensors by rank): gives every rank the tensors of all ranks.
Napi::Value RanksHandle::all_gather(const Napi::CallbackInfo& info) {
  return guard(info, [&] {
    const auto parts = storages_by_rank(info[0], false, "allGather");
    return post(info.Env(), [parts](RankGroup& group) -> Result {
      group.all_gather(spans_by_rank(parts, group, "allGather"));
      return nullptr;
    }, info[0]);
  });
}

// sum(numbers): adds up a Float64Array over all ranks. Resolves with the sums.
Napi::Value RanksHandle::sum(const Napi::CallbackInfo& info) {
  return guard(info, [&] {
    const ByteView numbers = byte_view(info[0], "numbers");
    std::vector<double> own(numbers.bytes / sizeof(double));
    if (!own.empty()) std::memcpy(own.data(), numbers.data, own.size() * sizeof(double));
    return post(info.Env(), [own](RankGroup& group) -> Result {
      std::vector<double> sums = own;
      group.all_reduce({{reinterpret_cast<unsigned char*>(sums.data()), sums.size() * sizeof(double)}}, Summed::f64);
      return [sums](Napi::Env env) -> Napi::Value {
        Napi::ArrayBuffer buffer = new_array_buffer(env, sums.size() * sizeof(double));
        if (!sums.empty()) std::memcpy(buffer.Data(), sums.data(), sums.size() * sizeof(double));
        return buffer;
      };
    }, info.Env().Undefined());
  });
}

// broadcast(tensors, root): gives every rank the root's tensors.
Napi::Value RanksHandle::broadcast(const Napi::CallbackInfo& info) {
  return guard(info, [&] {
    const auto tensors = storages(info[0], false, "broadcast");
    const int root = static_cast<int>(integer(info[1], "root", 1 << 20));
    return post(info.Env(), [tensors, root](RankGroup& group) -> Result {
      if (root >= group.size())
        throw invalid_argument(
            "root: expected a rank below " + std::to_string(group.size()) + ", got " + std::to_string(root));
      try {
        for (const auto& t : tensors) {
          t->forget_packed();
          group.broadcast(t->data(), t->bytes(), root);
        }
      } catch (...) {
        new std::vector(tensors);  // a deliberate leak: MPI may write to the tensors until all ranks end
        throw;
      }
      return nullptr;
    }, info[0]);
  });
}

// gather(bytes): resolves with { bytes, lengths } of all ranks, in rank order. Copies its argument.
Napi::Value RanksHandle::gather(const Napi::CallbackInfo& info) {
  return guard(info, [&] {
    const ByteView view = byte_view(info[0], "bytes");
    const std::vector<unsigned char> own(view.data, view.data + view.bytes);
    return post(info.Env(), [own](RankGroup& group) -> Result {
      std::vector<uint64_t> lengths;
      const std::vector<unsigned char> all = group.gather(own.data(), own.size(), lengths);
      return [all, lengths](Napi::Env env) -> Napi::Value {
        Napi::ArrayBuffer buffer = new_array_buffer(env, all.size());
        if (!all.empty()) std::memcpy(buffer.Data(), all.data(), all.size());
        Napi::Array list = Napi::Array::New(env, lengths.size());
        for (size_t i = 0; i < lengths.size(); ++i) list.Set(static_cast<uint32_t>(i), static_cast<double>(lengths[i]));
        Napi::Object found = Napi::Object::New(env);
        found.Set("bytes", buffer);
        found.Set("lengths", list);
        return found;
      };
    }, info.Env().Undefined());
  });
}

Napi::Value RanksHandle::barrier(const Napi::CallbackInfo& info) {
  return guard(info, [&] {
    return post(info.Env(), [](RankGroup& group) -> Result {
      group.barrier();
      return nullptr;
    }, info.Env().Undefined());
  });
}

// leave(): see RankThread::leave. Does not block.
Napi::Value RanksHandle::leave(const Napi::CallbackInfo& info) {
  return guard(info, [&] {
    if (thread_) thread_->leave();
  });
}

// end(code, seconds): see RankThread::end. Blocks.
Napi::Value RanksHandle::end(const Napi::CallbackInfo& info) {
  return guard(info, [&] {
    const int code = static_cast<int>(integer(info[0], "code", 255));
    const double seconds = static_cast<double>(integer(info[1], "seconds", 3600));
    if (thread_) thread_->end(code, seconds);
  });
}

// cpus(): returns the CPUs that this process may run on. Empty if unknown.
Napi::Value RanksHandle::cpus(const Napi::CallbackInfo& info) {
  return guard(info, [&]() -> Napi::Value {
    const std::vector<int>& allowed = allowed_cpus();
    Napi::Array list = Napi::Array::New(info.Env(), allowed.size());
    for (size_t i = 0; i < allowed.size(); ++i) list.Set(static_cast<uint32_t>(i), allowed[i]);
    return list;
  });
}

static void init_ranks(Napi::Env env, Napi::Object exports) { exports.Set("NativeRanks", RanksHandle::define(env)); }
static BindingInit registered(init_ranks);

}  // namespace heddle
