#include "binding/lane/lane.h"

#include <chrono>
#include <cstring>

#include "binding/arrays.h"
#include "binding/guard.h"
#include "binding/lane/cast_call.h"
#include "binding/lane/digest_call.h"
#include "binding/lane/fp8_call.h"
#include "binding/lane/run_series.h"
#include "binding/ranks/ranks.h"
#include "binding/tensor.h"
#include "binding/unwrap.h"
#include "core/round.h"
#include "runtime/devices.h"

namespace heddle {

const napi_type_tag LaneHandle::tag = {0x6865646a4c616e65ULL, 0x0000000000000002ULL};
const napi_type_tag AbortFlagHandle::tag = {0x6865646a41626f72ULL, 0x7400000000000003ULL};

void check_place(const Storage& tensor, const Lane& lane, const char* what) {
  if (tensor.accelerator() && tensor.accelerator() != lane.accelerator().get())
    throw invalid_argument(
        std::string(what) + ": expected the lane of the tensor's device, got the lane of another device");
  tensor.check();
}

struct LaneHandle::Pending {
  Napi::Promise::Deferred deferred;
  std::vector<Napi::ObjectReference> keep;
  bool failed = false;
  Failure failure{"INTERNAL", ""};
};

Napi::Function LaneHandle::define(Napi::Env env) {
  return DefineClass(env, class_name,
      {InstanceMethod<&LaneHandle::read>("read"), InstanceMethod<&LaneHandle::write>("write"),
          InstanceMethod<&LaneHandle::copy>("copy"), InstanceMethod<&LaneHandle::cast>("cast"),
          InstanceMethod<&LaneHandle::quantize_fp8>("quantizeFp8"), InstanceMethod<&LaneHandle::crc32c>("crc32c"),
          InstanceMethod<&LaneHandle::settle>("settle"), InstanceMethod<&LaneHandle::unload>("unload"),
          InstanceMethod<&LaneHandle::reload>("reload"), InstanceMethod<&LaneHandle::join>("join"),
          InstanceMethod<&LaneHandle::join_ranks>("joinRanks"), InstanceMethod<&LaneHandle::all_reduce>("allReduce"),
          InstanceMethod<&LaneHandle::reduce_scatter>("reduceScatter"),
          InstanceMethod<&LaneHandle::all_gather>("allGather"), InstanceMethod<&LaneHandle::run>("run"),
          InstanceMethod<&LaneHandle::variants>("variants"), InstanceMethod<&LaneHandle::choose>("choose"),
          InstanceAccessor<&LaneHandle::arena_bytes>("arenaBytes"), InstanceAccessor<&LaneHandle::is_lost>("isLost")});
}

LaneHandle::LaneHandle(const Napi::CallbackInfo& info) : Handle(info), env_(info.Env()) {
  guard(info, [&] {
    info.This().As<Napi::Object>().TypeTag(&tag);
    const int threads = static_cast<int>(integer(info[0], "threads", 1024));
    if (threads < 1) throw invalid_argument("threads: expected 1 or more, got 0");
    std::shared_ptr<Accelerator> accelerator;
    if (info.Length() > 1 && !info[1].IsUndefined())
      accelerator =
          open_cuda(static_cast<int>(integer(info[1], "device", 1024)), info.Length() > 2 && info[2].ToBoolean());
    lane_ = std::make_unique<Lane>(threads, std::move(accelerator));
    settle_ = Napi::ThreadSafeFunction::New(
        env_, Napi::Function::New(env_, [](const Napi::CallbackInfo&) {}), "heddle lane", 0, 1);
    settle_.Unref(env_);
    // Cleanup hooks run in reverse order. This one joins the lane while the thread-safe function still exists.
    napi_add_env_cleanup_hook(env_, cleanup, this);
  });
}

std::shared_ptr<Accelerator> LaneHandle::accelerator() const {
  if (!lane_) throw Error("DISPOSED", "lane: expected a live environment, got one that is closing");
  return lane_->accelerator();
}

std::shared_ptr<Storage> LaneHandle::copy_of(
    std::shared_ptr<Mapping> file, size_t offset, size_t bytes, RowOrder rows) {
  // Uses small pages, because the system may take long to find large ones.
  std::shared_ptr<Storage> to = Storage::allocate(bytes, accelerator(), false);
  to->make_read_only();
  Lane* lane = lane_.get();
  lane->post([=] {
    // Reads the file with pread instead of through the mapping. A file that has shrunk then causes an error instead of
    // SIGBUS.
    try {
      if (to->accelerator()) {
        std::vector<unsigned char> block;
        to->accelerator()->upload_filled(to->data(), bytes, [&](size_t at, size_t count, void* into) {
          rows.read(*file, offset, at, count, static_cast<unsigned char*>(into), block);
        });
        return;
      }
      const size_t piece = std::max<size_t>(1, rows.block_bytes());
      const int64_t pieces = static_cast<int64_t>(ceil_div(bytes, piece));
      std::vector<std::vector<unsigned char>> blocks(static_cast<size_t>(lane->pool().threads()));
      lane->pool().run(pieces, [&](int64_t i, int thread) {
        const size_t at = i * piece, count = std::min(piece, bytes - at);
        to->populate(at, count);
        rows.read(*file, offset, at, count, to->data() + at, blocks[static_cast<size_t>(thread)]);
      });
    } catch (...) {
      to->fail(std::current_exception());
    }
  });
  return to;
}

LaneHandle::~LaneHandle() {
  if (!lane_) return;
  napi_remove_env_cleanup_hook(env_, cleanup, this);
  shut(env_);
}

void LaneHandle::cleanup(void* self) { static_cast<LaneHandle*>(self)->shut(static_cast<LaneHandle*>(self)->env_); }

void LaneHandle::shut(Napi::Env) {
  if (!lane_) return;
  lane_->stop();
  lane_.reset();
  for (Pending* p : pending_) delete p;  // the environment closes, so their promises can never settle
  pending_.clear();
  settle_.Abort();
}

Napi::Value LaneHandle::post(
    Napi::Env env, std::function<void(Lane&)> work, Napi::Value result, std::vector<Napi::Value> keep) {
  if (!lane_) throw Error("DISPOSED", "lane: expected a live environment, got one that is closing");
  Pending* pending = new Pending{Napi::Promise::Deferred::New(env), {}, false, {"INTERNAL", ""}};
  Napi::Promise promise = pending->deferred.Promise();
  if (result.IsObject()) pending->keep.push_back(Napi::Persistent(result.As<Napi::Object>()));
  else pending->keep.emplace_back();
  for (Napi::Value v : keep)
    if (v.IsObject()) pending->keep.push_back(Napi::Persistent(v.As<Napi::Object>()));
  if (pending_.empty()) {
    settle_.Ref(env);  // keeps the event loop alive while work is pending
    Ref();
  }
  pending_.insert(pending);
  Lane* lane = lane_.get();
  Napi::ThreadSafeFunction settle = settle_;
  LaneHandle* self = this;
  lane->post([self, lane, settle, pending, work = std::move(work)]() mutable {
    try {
      work(*lane);
    } catch (...) {
      pending->failed = true;
      pending->failure = describe_exception(std::current_exception());
    }
    // The queue is unbounded, so this call does not block. While the environment closes, the callback is not delivered,
    // and the cleanup hook frees `pending`.
    settle.NonBlockingCall(pending, [self](Napi::Env e, Napi::Function, Pending* p) { self->settled(e, p); });
  });
  return promise;
}

void LaneHandle::settled(Napi::Env env, Pending* pending) {
  if (pending_.erase(pending) == 0) return;
  if (pending->failed) pending->deferred.Reject(make_error(env, pending->failure));
  else
    pending->deferred.Resolve(
        pending->keep[0].IsEmpty() ? env.Undefined() : static_cast<Napi::Value>(pending->keep[0].Value()));
  delete pending;
  if (pending_.empty()) {
    settle_.Unref(env);
    Unref();
  }
}

Napi::Value LaneHandle::read(const Napi::CallbackInfo& info) {
  return guard(info, [&] {
    std::shared_ptr<Storage> from = unwrap<TensorHandle>(info[0], "tensor").storage();
    const size_t offset = static_cast<size_t>(integer(info[1], "offset")),
                 bytes = static_cast<size_t>(integer(info[2], "bytes"));
    if (offset > from->bytes() || bytes > from->bytes() - offset)
      throw invalid_argument("read: expected a range within " + std::to_string(from->bytes()) + " bytes, got " +
                             std::to_string(bytes) + " bytes at " + std::to_string(offset));
    Napi::ArrayBuffer to = new_array_buffer(info.Env(), bytes);
    unsigned char* data = static_cast<unsigned char*>(to.Data());
    return post(info.Env(), [=](Lane& lane) {
      check_place(*from, lane, "read");
      if (!bytes) return;
      if (from->accelerator()) from->accelerator()->download(data, from->data() + offset, bytes);
      else std::memcpy(data, from->data() + offset, bytes);
      from->check_mapping();
    }, to, {});
  });
}

// write(tensor, offset, bytes, lent): writes all of `bytes`. Copies them first unless `lent` is true. Other code must
// not use a lent buffer until the promise settles.
Napi::Value LaneHandle::write(const Napi::CallbackInfo& info) {
  return guard(info, [&] {
    std::shared_ptr<Storage> to = unwrap<TensorHandle>(info[0], "tensor").storage();
    const size_t offset = static_cast<size_t>(integer(info[1], "offset"));
    const ByteView from = byte_view(info[2], "bytes");
    if (!to->writable()) throw invalid_argument("write: expected a writable tensor, got one mapped from a file");
    if (offset > to->bytes() || from.bytes > to->bytes() - offset)
      throw invalid_argument("write: expected a range within " + std::to_string(to->bytes()) + " bytes, got " +
                             std::to_string(from.bytes) + " bytes at " + std::to_string(offset));
    // A buffer that is not lent is copied, because the caller could transfer or shrink it before the lane reads it.
    std::shared_ptr<unsigned char[]> copy;
    if (!(info[3].IsBoolean() && info[3].As<Napi::Boolean>().Value()) && from.bytes) {
      copy.reset(new unsigned char[from.bytes]);
      std::memcpy(copy.get(), from.data, from.bytes);
    }
    return post(info.Env(), [=](Lane& lane) {
      check_place(*to, lane, "write");
      if (!from.bytes) return;
      to->forget_packed();
      const unsigned char* data = copy ? copy.get() : from.data;
      if (to->accelerator()) to->accelerator()->upload(to->data() + offset, data, from.bytes);
      else std::memcpy(to->data() + offset, data, from.bytes);
    }, info.Env().Undefined(), copy ? std::vector<Napi::Value>{} : std::vector<Napi::Value>{info[2]});
  });
}

// copy(from, to, times): copies all of `from` to the beginning of `to`, a tensor of this lane, `times` times. Resolves
// with a buffer of one double, the seconds that all copies took.
Napi::Value LaneHandle::copy(const Napi::CallbackInfo& info) {
  return guard(info, [&] {
    std::shared_ptr<Storage> from = unwrap<TensorHandle>(info[0], "from").storage();
    std::shared_ptr<Storage> to = unwrap<TensorHandle>(info[1], "to").storage();
    const int times = static_cast<int>(integer(info[2], "times", 1000));
    if (!to->writable()) throw invalid_argument("copy: expected a writable tensor, got one mapped from a file");
    if (from->bytes() > to->bytes())
      throw shape_mismatch(
          "copy: expected at most " + std::to_string(to->bytes()) + " bytes, got " + std::to_string(from->bytes()));
    if (!from->accelerator() != !to->accelerator())
      throw invalid_argument("copy: expected two tensors of the CPU or two of GPUs, got one of each");
    Napi::ArrayBuffer result = Napi::ArrayBuffer::New(info.Env(), sizeof(double));
    double* seconds = static_cast<double*>(result.Data());
    return post(info.Env(), [=](Lane& lane) {
      check_place(*to, lane, "copy");
      from->check();
      to->forget_packed();
      Accelerator* device = to->accelerator();
      const auto start = std::chrono::steady_clock::now();
      if (device) device->mark_begin();
      for (int i = 0; i < times && from->bytes(); ++i) {
        if (device) device->queue_copy(to->data(), from->data(), from->bytes(), *from->accelerator());
        else std::memmove(to->data(), from->data(), from->bytes());
      }
      if (device) device->mark_end(), device->wait();
      *seconds = device ? device->marked_seconds()
                        : std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    }, result, {});
  });
}

// cast(source, offset, from, to, addend, count, target, at, how). Resolves with a buffer of two doubles: the counts of
// finite numbers that became infinite, and of source numbers that are not finite.
Napi::Value LaneHandle::cast(const Napi::CallbackInfo& info) {
  return guard(info, [&] {
    std::vector<Napi::Value> keep;
    auto call = std::make_shared<CastCall>(info, keep);
    Napi::ArrayBuffer result = Napi::ArrayBuffer::New(info.Env(), 2 * sizeof(double));
    double* found = static_cast<double*>(result.Data());
    return post(info.Env(), [call, found](Lane& lane) {
      call->run(lane);
      found[0] = static_cast<double>(call->findings().overflows),
      found[1] = static_cast<double>(call->findings().not_finite);
    }, result, keep);
  });
}

// quantizeFp8(numbers, rows, columns). Resolves with { bytes, scales }.
Napi::Value LaneHandle::quantize_fp8(const Napi::CallbackInfo& info) {
  return guard(info, [&] {
    const Fp8Call call(info);
    return post(info.Env(), [work = call.work()](Lane& lane) { work.run(lane); }, call.result(), {info[0]});
  });
}

// crc32c(source, offset, bytes, before): continues the checksum `before`. Resolves with a buffer of one uint32.
Napi::Value LaneHandle::crc32c(const Napi::CallbackInfo& info) {
  return guard(info, [&] {
    std::vector<Napi::Value> keep;
    const DigestCall call(info, keep);
    Napi::ArrayBuffer result = Napi::ArrayBuffer::New(info.Env(), sizeof(uint32_t));
    uint32_t* sum = static_cast<uint32_t*>(result.Data());
    return post(info.Env(), [call, sum](Lane& lane) { *sum = call.run(lane); }, result, keep);
  });
}

// settle(): resolves when the device has finished all work that this lane queued.
Napi::Value LaneHandle::settle(const Napi::CallbackInfo& info) {
  return guard(info, [&] {
    return post(info.Env(), [](Lane& lane) {
      if (lane.accelerator()) lane.accelerator()->wait();
    }, info.Env().Undefined(), {});
  });
}

// unload(tensor, why): frees the tensor's memory after the work that is already queued. Until reload(), every use fails
// with `why`.
Napi::Value LaneHandle::unload(const Napi::CallbackInfo& info) {
  return guard(info, [&] {
    std::shared_ptr<Storage> tensor = unwrap<TensorHandle>(info[0], "tensor").storage();
    if (!info[1].IsString()) throw invalid_argument("why: expected a text, got another value");
    const std::exception_ptr why =
        std::make_exception_ptr(Error("UNSUPPORTED", info[1].As<Napi::String>().Utf8Value()));
    return post(info.Env(), [=](Lane&) { tensor->unload(why); }, info.Env().Undefined(), {});
  });
}

// reload(tensor): allocates the memory of an unloaded tensor again, with zeros.
Napi::Value LaneHandle::reload(const Napi::CallbackInfo& info) {
  return guard(info, [&] {
    std::shared_ptr<Storage> tensor = unwrap<TensorHandle>(info[0], "tensor").storage();
    return post(info.Env(), [=](Lane&) { tensor->reload(); }, info.Env().Undefined(), {});
  });
}

// join(id, rank, size): resolves when all ranks have joined.
Napi::Value LaneHandle::join(const Napi::CallbackInfo& info) {
  return guard(info, [&] {
    const ByteView bytes = byte_view(info[0], "id");
    const std::string id(reinterpret_cast<const char*>(bytes.data), bytes.bytes);
    const int rank = static_cast<int>(integer(info[1], "rank", 65535)),
              size = static_cast<int>(integer(info[2], "size", 65536));
    return post(info.Env(), [=](Lane& lane) { lane.join(id, rank, size); }, info.Env().Undefined(), {});
  });
}

// joinRanks(ranks): lets programs of this CPU lane sum over the ranks that MPI connects.
Napi::Value LaneHandle::join_ranks(const Napi::CallbackInfo& info) {
  return guard(info, [&] {
    const RanksHandle& ranks = unwrap<RanksHandle>(info[0], "ranks");
    if (lane_ && lane_->accelerator()) throw invalid_argument("world: expected the CPU, got a CUDA device");
    if (!lane_) throw Error("DISPOSED", "lane: expected a live environment, got one that is closing");
    std::shared_ptr<RankSums> sums = ranks.sums(lane_->cancellation());
    return post(info.Env(), [=](Lane& lane) { lane.join(sums); }, info.Env().Undefined(), {info[0]});
  });
}

// variants(m, n, k, a, b, c, layout) -> { key, names }. a, b and c are type numbers, layout is NN, NT or TN. On the CPU
// `names` is empty.
Napi::Value LaneHandle::variants(const Napi::CallbackInfo& info) {
  return guard(info, [&]() -> Napi::Value {
    const auto size = [&](size_t i, const char* name) {
      const int64_t n = integer(info[i], name, 1LL << 40);
      if (n < 1) throw invalid_argument(std::string(name) + ": expected 1 or more, got 0");
      return n;
    };
    const auto type = [&](size_t i, const char* name) {
      return static_cast<DType>(integer(info[i], name, static_cast<double>(DType::count) - 1));
    };
    const std::string layout = info[6].IsString() ? info[6].As<Napi::String>().Utf8Value() : "";
    if (layout != "NN" && layout != "NT" && layout != "TN")
      throw invalid_argument("layout: expected NN, NT or TN, got " + layout);
    const ProductDescription product{size(0, "m"), size(1, "n"), size(2, "k"), type(3, "a"), type(4, "b"), type(5, "c"),
        layout[0] == 'T', layout[1] == 'T'};
    const std::shared_ptr<Accelerator> device = accelerator();
    const ProductVariants found = device ? device->product_variants(product) : ProductVariants{};
    Napi::Array names = Napi::Array::New(info.Env(), found.names.size());
    for (size_t i = 0; i < found.names.size(); ++i) names.Set(static_cast<uint32_t>(i), found.names[i]);
    Napi::Object result = Napi::Object::New(info.Env());
    result.Set("key", found.key);
    result.Set("names", names);
    return result;
  });
}

// choose(choices: [key, name][]): sets the variant of each product, replacing earlier choices.
Napi::Value LaneHandle::choose(const Napi::CallbackInfo& info) {
  return guard(info, [&]() -> Napi::Value {
    const auto wrong = [] {
      return invalid_argument("choices: expected pairs of a key and a name, got something else");
    };
    if (!info[0].IsArray()) throw wrong();
    const Napi::Array list = info[0].As<Napi::Array>();
    std::map<std::string, std::string> choices;
    for (uint32_t i = 0; i < list.Length(); ++i) {
      const Napi::Value item = list.Get(i);
      if (!item.IsArray()) throw wrong();
      const Napi::Value key = item.As<Napi::Array>().Get(uint32_t{0}), name = item.As<Napi::Array>().Get(uint32_t{1});
      if (!key.IsString() || !name.IsString()) throw wrong();
      choices[key.As<Napi::String>().Utf8Value()] = name.As<Napi::String>().Utf8Value();
    }
    if (const std::shared_ptr<Accelerator> device = accelerator()) device->choose_variants(std::move(choices));
    return info.Env().Undefined();
  });
}

Napi::Value LaneHandle::is_lost(const Napi::CallbackInfo& info) {
  return guard(info, [&]() -> Napi::Value {
    return Napi::Boolean::New(info.Env(), lane_ && lane_->accelerator() && lane_->accelerator()->is_lost());
  });
}

Napi::Value LaneHandle::arena_bytes(const Napi::CallbackInfo& info) {
  return guard(info, [&]() -> Napi::Value {
    return Napi::Number::New(info.Env(), lane_ ? static_cast<double>(lane_->arena_bytes()) : 0);
  });
}

Napi::Value LaneHandle::run(const Napi::CallbackInfo& info) {
  return guard(info, [&] {
    std::vector<Napi::Value> keep;
    auto series = std::make_shared<RunSeries>(info, keep);
    return post(info.Env(), [series](Lane& lane) { series->run(lane); }, info[3], keep);
  });
}

Napi::Function AbortFlagHandle::define(Napi::Env env) {
  return DefineClass(env, class_name, {InstanceMethod<&AbortFlagHandle::abort>("abort")});
}

AbortFlagHandle::AbortFlagHandle(const Napi::CallbackInfo& info)
    : Handle(info), flag(std::make_shared<std::atomic<bool>>(false)) {
  info.This().As<Napi::Object>().TypeTag(&tag);
}

Napi::Value AbortFlagHandle::abort(const Napi::CallbackInfo& info) {
  return guard(info, [&] { flag->store(true, std::memory_order_relaxed); });
}

}  // namespace heddle
