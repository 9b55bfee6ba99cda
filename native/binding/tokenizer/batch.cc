// Encodes and decodes batches of texts on worker threads.
#include <algorithm>
#include <atomic>
#include <system_error>
#include <thread>

#include "binding/tokenizer/tokenizer.h"
#include "binding/arrays.h"
#include "binding/tokenizer/utf16_batch.h"
#include "binding/guard.h"
#include "binding/handle.h"
#include "binding/init.h"
#include "binding/tokenizer/job.h"
#include "binding/tokenizer/workspace.h"
#include "core/cpus.h"
#include "core/error.h"
#include "tokenizer/decode/decoder.h"

namespace heddle {
namespace {

// Runs work items 0 to count - 1 on up to `threads` threads, including the calling one. Thread t calls make_worker(t)
// once, and then the returned worker for each item that it takes. Rethrows the exception of the lowest-numbered thread
// that failed.
template <class MakeWorker>
void run_parallel(size_t count, size_t threads, const Cancellation& cancellation, const MakeWorker& make_worker) {
  std::atomic<size_t> next{0};
  std::vector<std::exception_ptr> failures(threads);
  std::vector<std::thread> helpers;
  const auto work = [&](size_t index) {
    try {
      auto worker = make_worker(index);
      for (size_t i = next++; i < count; i = next++) {
        cancellation.check();
        worker(i);
      }
    } catch (...) {
      failures[index] = std::current_exception();
      next = count;
    }
  };
  try {
    for (size_t i = 1; i < threads; ++i) helpers.emplace_back(work, i);
  } catch (const std::system_error&) {  // no more threads can start; the started threads do all work
  }
  work(0);
  for (std::thread& helper : helpers) helper.join();
  for (const std::exception_ptr& failure : failures) {
    if (failure) std::rethrow_exception(failure);
  }
}

size_t threads_for(size_t items, size_t work, size_t work_a_thread) {
  const size_t wanted = std::min<size_t>({items, work / work_a_thread, static_cast<size_t>(usable_cpus())});
  return std::max<size_t>(1, wanted);
}

// Encodes a batch of texts. The workspace holds the texts one after another. Each worker appends its ids to a separate
// buffer.
class EncodeBatch {
 public:
  EncodeBatch(std::shared_ptr<const TokenizerModel> model, std::shared_ptr<Workspaces> workspaces,
      EncodeOptions options, EncodeExtras extras)
      : model_(std::move(model)), workspaces_(std::move(workspaces)), workspace_(workspaces_->take()),
        given_(std::move(workspace_->text)), options_(options), extras_(std::move(extras)) {
    extras_.apply(options_);
  }
  ~EncodeBatch() { close(); }

  void expect(size_t units) {
    assert_reading();
    given_.expect(units);
  }
  void read(const Napi::Value& texts, bool continues) {
    assert_reading();
    given_.read(texts, continues);
  }

  // Must be called before run(). Afterwards no more texts can be read.
  void begin() {
    assert_reading();
    given_.assert_idle();
    texts_.resize(given_.texts().size());
    if (!extras_.barriers.empty() && texts_.size() != 1)
      throw invalid_argument("barriers: expected a batch of one text, got " + std::to_string(texts_.size()));
    if (options_.offsets && texts_.size() != 1)
      throw invalid_argument("offsets: expected a batch of one text, got " + std::to_string(texts_.size()));
    state_ = State::running;
  }

  void run(const Cancellation& cancellation) {
    constexpr size_t work_a_thread = 1 << 16;  // UTF-16 units; for fewer, starting a thread takes longer than the work
    const size_t threads = threads_for(texts_.size(), given_.size(), work_a_thread);
    options_.cancellation = cancellation;
    auto& workers = workspace_->workers;
    while (workers.size() < threads) workers.push_back(std::make_unique<Workspace::Worker>(model_));
    for (const auto& worker : workers) {
      worker->encoding.ids.clear();
      worker->encoding.offsets.clear();
    }
    run_parallel(texts_.size(), threads, cancellation, [this, &workers](size_t index) {
      return [this, index, &worker = *workers[index]](size_t i) {
        EncodeOptions own = options_;
        own.seed += i;  // dropout depends on the index of the text, not on its thread
        const size_t before = worker.encoding.ids.size();
        const Utf16Batch::Text& text = given_.texts()[i];
        worker.encoder.encode(given_.units() + text.begin, text.length, own, extras_.barriers, worker.encoding);
        texts_[i] = {before, worker.encoding.ids.size() - before, index};
      };
    });
  }

  // Returns the number of ids of each text. Afterwards the ids can be taken.
  Napi::Value counts(Napi::Env env) {
    state_ = State::done;
    Napi::Uint32Array counts = new_uint32_array(env, texts_.size());
    for (size_t i = 0; i < texts_.size(); ++i) counts.Data()[i] = static_cast<uint32_t>(texts_[i].count);
    return counts;
  }

  // Copies up to `room` of the next ids, in the order of the texts. Returns how many were copied.
  size_t take_ids(uint32_t* to, size_t room) {
    assert_done();
    size_t taken = 0;
    for (; next_text_ < texts_.size(); ++next_text_, next_id_ = 0) {
      const Text& text = texts_[next_text_];
      const uint32_t* ids = workspace_->workers[text.worker]->encoding.ids.data() + text.ids;
      const size_t count = std::min(text.count - next_id_, room - taken);
      std::copy_n(ids + next_id_, count, to + taken);
      taken += count;
      next_id_ += count;
      if (next_id_ < text.count) break;
    }
    return taken;
  }

  // Copies up to `room` of the next offsets of a batch of one text. Returns how many were copied.
  size_t take_offsets(uint32_t* to, size_t room) {
    assert_done();
    if (!options_.offsets) return 0;
    const IdBuffer& offsets = workspace_->workers[texts_[0].worker]->encoding.offsets;
    const size_t count = std::min(offsets.size() - next_offset_, room);
    std::copy_n(offsets.data() + next_offset_, count, to);
    next_offset_ += count;
    return count;
  }

  // Gives the workspace back for reuse. Does nothing while the job runs, because the job uses the workspace.
  void close() {
    if (workspace_ == nullptr || state_ == State::running) return;
    workspace_->text = given_.take();
    workspaces_->give(std::move(workspace_));
    state_ = State::closed;
  }

  // Marks the batch as failed. No results can be read.
  void fail() { state_ = State::failed; }

 private:
  enum class State { reading, running, done, failed, closed };
  struct Text {
    size_t ids;  // index of the first id in the buffer of its worker
    size_t count, worker;
  };

  void assert_reading() const {
    if (state_ != State::reading) throw invalid_argument("batch: this batch has already run or was closed");
  }
  void assert_done() const {
    if (state_ != State::done) throw invalid_argument("batch: results are available only after a successful run");
  }

  std::shared_ptr<const TokenizerModel> model_;
  std::shared_ptr<Workspaces> workspaces_;
  std::unique_ptr<Workspace> workspace_;
  Utf16Batch given_;
  std::vector<Text> texts_;
  EncodeOptions options_;
  EncodeExtras extras_;
  std::atomic<State> state_{State::reading};  // atomic, because fail() is called on the job's thread
  size_t next_text_ = 0, next_id_ = 0, next_offset_ = 0;
};

struct DecodeBatch {
  std::shared_ptr<const TokenizerModel> model;
  std::vector<uint32_t> ids;
  std::vector<size_t> begins;  // index of the first id of each text, then the number of all ids
  bool skip_special = false;
  std::vector<std::string> texts;

  void run(size_t threads, const Cancellation& cancellation) {
    run_parallel(texts.size(), threads, cancellation, [this](size_t) {
      return [this](size_t i) {
        texts[i] = decode(model, ids.data() + begins[i], begins[i + 1] - begins[i], skip_special);
      };
    });
  }
};

// In JavaScript: class NativeBatch { constructor(tokenizer, flags, extras?); expect(units); read(strings, continues);
// run(); takeIds(room); takeOffsets(room); close() }; see lib/binding/tokenizer.ts.
class NativeBatch : public Handle<NativeBatch> {
 public:
  static constexpr napi_type_tag tag = {0x62c85f07d3a94e1bULL, 0x9f14e6a82b7d50c3ULL};
  static constexpr const char* class_name = "NativeBatch";
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, class_name,
        {InstanceMethod<&NativeBatch::expect>("expect"), InstanceMethod<&NativeBatch::read>("read"),
            InstanceMethod<&NativeBatch::run>("run"), InstanceMethod<&NativeBatch::take_ids>("takeIds"),
            InstanceMethod<&NativeBatch::take_offsets>("takeOffsets"), InstanceMethod<&NativeBatch::close>("close")});
  }

  explicit NativeBatch(const Napi::CallbackInfo& info) : Handle(info) {
    guard(info, [&] {
      TokenizerParts parts = parts_of(info[0]);
      batch_ = std::make_shared<EncodeBatch>(std::move(parts.model), std::move(parts.workspaces),
          to_options(to_uint32(info[1], "flags")), to_extras(info[2]));
      info.This().As<Napi::Object>().TypeTag(&tag);
    });
  }

 private:
  static const std::shared_ptr<EncodeBatch>& from(const Napi::CallbackInfo& info) {
    if (!info.This().IsObject() || !info.This().As<Napi::Object>().CheckTypeTag(&tag))
      throw invalid_argument("batch: expected a NativeBatch, got something else");
    return Unwrap(info.This().As<Napi::Object>())->batch_;
  }

  static Napi::Uint32Array room_of(const Napi::CallbackInfo& info) {
    if (!info[0].IsTypedArray() || info[0].As<Napi::TypedArray>().TypedArrayType() != napi_uint32_array)
      throw invalid_argument("room: expected a Uint32Array, got something else");
    return info[0].As<Napi::Uint32Array>();
  }

  Napi::Value expect(const Napi::CallbackInfo& info) {
    return guard(info, [&] { from(info)->expect(to_uint32(info[0], "units")); });
  }

  Napi::Value read(const Napi::CallbackInfo& info) {
    return guard(info, [&] { from(info)->read(info[0], info[1].ToBoolean().Value()); });
  }

  Napi::Value run(const Napi::CallbackInfo& info) {
    return guard(info, [&]() -> Napi::Value {
      const std::shared_ptr<EncodeBatch> batch = from(info);
      batch->begin();
      const auto run = [batch](TokenizerJob& job) {
        try {
          batch->run(job.cancellation("encode: aborted"));
        } catch (...) {
          batch->fail();
          throw;
        }
      };
      try {
        return TokenizerJob::start(
            info.Env(), run, [batch](Napi::Env env) { return batch->counts(env); }, info.Env().Undefined());
      } catch (...) {  // a thread cannot be started
        batch->fail();
        throw;
      }
    });
  }

  Napi::Value take_ids(const Napi::CallbackInfo& info) {
    return guard(info, [&]() -> Napi::Value {
      Napi::Uint32Array to = room_of(info);
      return Napi::Number::New(info.Env(), static_cast<double>(from(info)->take_ids(to.Data(), to.ElementLength())));
    });
  }

  Napi::Value take_offsets(const Napi::CallbackInfo& info) {
    return guard(info, [&]() -> Napi::Value {
      Napi::Uint32Array to = room_of(info);
      return Napi::Number::New(
          info.Env(), static_cast<double>(from(info)->take_offsets(to.Data(), to.ElementLength())));
    });
  }

  Napi::Value close(const Napi::CallbackInfo& info) {
    return guard(info, [&] { from(info)->close(); });
  }

  std::shared_ptr<EncodeBatch> batch_;
};

void init_batch(Napi::Env env, Napi::Object exports) { exports.Set("NativeBatch", NativeBatch::define(env)); }
BindingInit registered(init_batch);

}  // namespace

Napi::Value start_decode_batch(const Napi::CallbackInfo& info, std::shared_ptr<const TokenizerModel> model) {
  auto batch = std::make_shared<DecodeBatch>();
  batch->model = std::move(model);
  batch->ids = to_uint32s(info[0], "ids");
  batch->begins.push_back(0);
  for (const uint32_t count : to_uint32s(info[1], "counts")) batch->begins.push_back(batch->begins.back() + count);
  if (batch->begins.back() != batch->ids.size())
    throw invalid_argument("counts: expected a sum of " + std::to_string(batch->ids.size()) + " ids, got " +
                           std::to_string(batch->begins.back()));
  batch->texts.resize(batch->begins.size() - 1);
  batch->skip_special = info[2].ToBoolean().Value();
  constexpr size_t work_a_thread = 1 << 18;  // ids; for fewer, starting a thread takes longer than the work
  const size_t threads = threads_for(batch->texts.size(), batch->ids.size(), work_a_thread);

  const auto run = [batch, threads](TokenizerJob& job) { batch->run(threads, job.cancellation("decode: aborted")); };
  return TokenizerJob::start(info.Env(), run, [batch](Napi::Env env) -> Napi::Value {
    const Napi::Array result = Napi::Array::New(env, batch->texts.size());
    for (uint32_t i = 0; i < batch->texts.size(); ++i) {
      const Napi::HandleScope scope(env);
      result.Set(i, to_string(env, batch->texts[i]));
    }
    return result;
  }, info.Env().Undefined());
}

}  // namespace heddle
