// Many texts at once, away from the JavaScript thread.
#include <algorithm>
#include <atomic>
#include <thread>

#include "binding/tokenizer.h"
#include "binding/arrays.h"
#include "binding/tokenizer_job.h"
#include "binding/tokenizer_workspace.h"
#include "runtime/cpus.h"
#include "runtime/error.h"
#include "tokenizer/decoder.h"

namespace heddle {
namespace {

// Calls make_worker(t)(i) for each i below `count` on up to `threads` threads t, this one included. The first exception wins.
template <class MakeWorker>
void run_parallel(size_t count, size_t threads, const std::atomic<bool>& cancelled, const char* what,
                  const MakeWorker& make_worker) {
  std::atomic<size_t> next{0};
  std::vector<std::exception_ptr> failures(threads);
  std::vector<std::thread> helpers;
  const auto work = [&](size_t index) {
    try {
      auto worker = make_worker(index);
      for (size_t i = next++; i < count; i = next++) {
        if (cancelled.load(std::memory_order_relaxed)) throw Error("ABORTED", std::string(what) + ": aborted");
        worker(i);
      }
    } catch (...) {
      failures[index] = std::current_exception();
      next = count;
    }
  };
  try {
    for (size_t i = 1; i < threads; ++i) helpers.emplace_back(work, i);
  } catch (const std::system_error&) {  // no more threads: those that started do the work
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

// Texts lie one after the other in the workspace; each worker's ids do so in its own memory.
struct EncodeBatch {
  struct Text {
    size_t begin, length;  // UTF-16 units
    size_t ids;            // where they begin in those of the worker
    uint32_t count, worker;
  };
  std::shared_ptr<const TokenizerModel> model;
  std::shared_ptr<Workspaces> workspaces;  // set last: what it is given back to
  std::unique_ptr<Workspace> workspace;
  std::vector<Text> texts;
  EncodeOptions options;
  EncodeExtras extras;

  ~EncodeBatch() {
    if (workspaces != nullptr) workspaces->give(std::move(workspace));
  }

  // Reads the strings of an array, most of them in one crossing each. Returns their units in all.
  size_t read(const Napi::Array& array) {
    const Napi::Env env = array.Env();
    RawBuffer<char16_t>& buffer = workspace->text;
    size_t used = 0;
    for (uint32_t i = 0; i < texts.size(); ++i) {
      const Napi::HandleScope scope(env);
      const Napi::Value value = array.Get(i);
      if (!value.IsString()) throw invalid_argument("texts: expected strings, got something else");
      buffer.reserve(used + 4096);
      size_t length = 0;
      check(env, napi_get_value_string_utf16(env, value, buffer.data() + used, buffer.capacity() - used, &length));
      if (used + length + 1 >= buffer.capacity()) {  // perhaps cut off
        check(env, napi_get_value_string_utf16(env, value, nullptr, 0, &length));
        buffer.reserve(used + length + 2);
        check(env, napi_get_value_string_utf16(env, value, buffer.data() + used, buffer.capacity() - used, &length));
      }
      texts[i] = {used, length, 0, 0, 0};
      used += length;
    }
    return used;
  }

  void run(size_t threads) {
    auto& workers = workspace->workers;
    while (workers.size() < threads) workers.push_back(std::make_unique<Workspace::Worker>(model));
    for (const auto& worker : workers) {
      worker->encoding.ids.clear();
      worker->encoding.offsets.clear();
    }
    run_parallel(texts.size(), threads, *options.cancelled, "encode", [this, &workers](size_t index) {
      return [this, index, &worker = *workers[index]](size_t i) {
        EncodeOptions own = options;
        own.seed += i;  // the chance of a text does not depend on its thread
        const size_t before = worker.encoding.ids.size();
        worker.encoder.encode(workspace->text.data() + texts[i].begin, texts[i].length, own, extras.barriers, worker.encoding);
        texts[i].ids = before;
        texts[i].count = static_cast<uint32_t>(worker.encoding.ids.size() - before);
        texts[i].worker = static_cast<uint32_t>(index);
      };
    });
  }

  // All ids in the order of the texts, how many are whose, and of a single text the offsets, if they were asked for. `spare`: a Uint32Array
  // to be used if it has room.
  Napi::Value result(Napi::Env env, const Napi::Value& spare) const {
    size_t total = 0;
    for (const Text& text : texts) total += text.count;
    const bool fits = spare.IsTypedArray() && spare.As<Napi::TypedArray>().TypedArrayType() == napi_uint32_array &&
                      spare.As<Napi::Uint32Array>().ElementLength() >= total;
    Napi::Uint32Array all = fits ? spare.As<Napi::Uint32Array>() : new_uint32_array(env, total);
    Napi::Uint32Array counts = new_uint32_array(env, texts.size());
    uint32_t* to = all.Data();
    for (size_t i = 0; i < texts.size(); ++i) {
      const uint32_t* ids = workspace->workers[texts[i].worker]->encoding.ids.data() + texts[i].ids;
      to = std::copy(ids, ids + texts[i].count, to);
      counts.Data()[i] = texts[i].count;
    }
    const Napi::Array result = Napi::Array::New(env, options.offsets ? 3 : 2);
    result.Set(0u, all);
    result.Set(1u, counts);
    if (options.offsets) result.Set(2u, to_array(env, workspace->workers[texts[0].worker]->encoding.offsets));
    return result;
  }

 private:
  static void check(Napi::Env env, napi_status status) {
    if (status != napi_ok) throw Napi::Error::New(env);
  }
};

struct DecodeBatch {
  std::shared_ptr<const TokenizerModel> model;
  std::vector<uint32_t> ids;
  std::vector<size_t> begins;  // one more than texts
  bool skip_special = false;
  std::vector<std::string> texts;

  void run(size_t threads, const std::atomic<bool>& cancelled) {
    run_parallel(texts.size(), threads, cancelled, "decode", [this](size_t) {
      return [this](size_t i) {
        texts[i] = decode(model, ids.data() + begins[i], begins[i + 1] - begins[i], skip_special);
      };
    });
  }
};

}  // namespace

Napi::Value start_encode_batch(const Napi::CallbackInfo& info, std::shared_ptr<const TokenizerModel> model,
                               std::shared_ptr<Workspaces> workspaces) {
  if (!info[0].IsArray()) throw invalid_argument("texts: expected an array of strings, got something else");
  const Napi::Array array = info[0].As<Napi::Array>();
  auto batch = std::make_shared<EncodeBatch>();
  batch->workspace = workspaces->take();
  batch->workspaces = std::move(workspaces);
  batch->model = std::move(model);
  batch->options = to_options(to_flags(info[1]));
  batch->extras = to_extras(info[2]);
  batch->extras.apply(batch->options);
  batch->texts.resize(array.Length());
  if (!batch->extras.barriers.empty() && batch->texts.size() != 1) throw invalid_argument("barriers: expected one text beside them");
  if (batch->options.offsets && batch->texts.size() != 1) throw invalid_argument("offsets: expected one text beside them");
  const size_t units = batch->read(array);
  const size_t threads = threads_for(batch->texts.size(), units, 1 << 16);  // below that a thread costs more than it brings

  // Held by the job alone, whose result is made, and which goes, on this thread.
  auto spare = std::make_shared<Napi::ObjectReference>();
  if (info[3].IsObject()) *spare = Napi::Persistent(info[3].As<Napi::Object>());
  return TokenizerJob::start(
      info.Env(),
      [batch, threads](TokenizerJob& job) {
        batch->options.cancelled = &job.cancelled();
        batch->run(threads);
      },
      [batch, spare](Napi::Env env) -> Napi::Value {
        return batch->result(env, spare->IsEmpty() ? env.Undefined() : spare->Value().As<Napi::Value>());
      },
      info.Env().Undefined());
}

Napi::Value start_decode_batch(const Napi::CallbackInfo& info, std::shared_ptr<const TokenizerModel> model) {
  auto batch = std::make_shared<DecodeBatch>();
  batch->model = std::move(model);
  batch->ids = to_uint32s(info[0], "ids");
  batch->begins.push_back(0);
  for (const uint32_t count : to_uint32s(info[1], "counts")) batch->begins.push_back(batch->begins.back() + count);
  if (batch->begins.back() != batch->ids.size()) throw invalid_argument("counts: expected as many ids as there are");
  batch->texts.resize(batch->begins.size() - 1);
  batch->skip_special = info[2].ToBoolean().Value();
  const size_t threads = threads_for(batch->texts.size(), batch->ids.size(), 1 << 18);

  return TokenizerJob::start(
      info.Env(), [batch, threads](TokenizerJob& job) { batch->run(threads, job.cancelled()); },
      [batch](Napi::Env env) -> Napi::Value {
        const Napi::Array result = Napi::Array::New(env, batch->texts.size());
        for (uint32_t i = 0; i < batch->texts.size(); ++i) {
          const Napi::HandleScope scope(env);
          result.Set(i, to_string(env, batch->texts[i]));
        }
        return result;
      },
      info.Env().Undefined());
}

}  // namespace heddle
