// Many texts at once, away from the JavaScript thread.
#include <algorithm>
#include <atomic>
#include <thread>

#include "binding/tokenizer.h"
#include "binding/tokenizer_job.h"
#include "runtime/error.h"
#include "tokenizer/decoder.h"

namespace heddle {
namespace {

// Calls work(i) for each i below `count` on up to `threads` threads, this one included. The first exception wins.
template <class MakeWorker>
void run_parallel(size_t count, size_t threads, const std::atomic<bool>& cancelled, const char* what,
                  const MakeWorker& make_worker) {
  std::atomic<size_t> next{0};
  std::vector<std::exception_ptr> failures(threads);
  std::vector<std::thread> helpers;
  const auto work = [&](size_t index) {
    try {
      auto worker = make_worker();
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
  const size_t wanted = std::min<size_t>({items, work / work_a_thread, std::thread::hardware_concurrency()});
  return std::max<size_t>(1, wanted);
}

struct EncodeBatch {
  std::shared_ptr<const TokenizerModel> model;
  std::vector<std::u16string> texts;
  EncodeOptions options;
  EncodeExtras extras;
  std::vector<std::vector<uint32_t>> ids;
  std::vector<uint32_t> counts;

  void run(size_t threads) {
    run_parallel(texts.size(), threads, *options.cancelled, "encode", [this] {
      return [this, encoder = std::make_shared<Encoder>(model), encoding = Encoding()](size_t i) mutable {
        encoding.ids.clear();
        EncodeOptions own = options;
        own.seed += i;  // the chance of a text does not depend on its thread
        encoder->encode(texts[i].data(), texts[i].size(), own, {}, encoding);
        counts[i] = static_cast<uint32_t>(encoding.ids.size());
        ids[i].assign(encoding.ids.begin(), encoding.ids.end());
      };
    });
  }
};

struct DecodeBatch {
  std::shared_ptr<const TokenizerModel> model;
  std::vector<uint32_t> ids;
  std::vector<size_t> begins;  // one more than texts
  bool skip_special = false;
  std::vector<std::string> texts;

  void run(size_t threads, const std::atomic<bool>& cancelled) {
    run_parallel(texts.size(), threads, cancelled, "decode", [this] {
      return [this](size_t i) {
        texts[i] = decode(model, ids.data() + begins[i], begins[i + 1] - begins[i], skip_special);
      };
    });
  }
};

}  // namespace

Napi::Value start_encode_batch(const Napi::CallbackInfo& info, std::shared_ptr<const TokenizerModel> model) {
  if (!info[0].IsArray()) throw invalid_argument("texts: expected an array of strings, got something else");
  const Napi::Array array = info[0].As<Napi::Array>();
  auto batch = std::make_shared<EncodeBatch>();
  batch->model = std::move(model);
  batch->options = to_options(to_flags(info[1]) & ~(flag_offsets | flag_byte_offsets));
  batch->extras = to_extras(info[2]);
  batch->extras.apply(batch->options);
  const uint32_t count = array.Length();
  batch->texts.resize(count);
  batch->ids.resize(count);
  batch->counts.resize(count);
  size_t units = 0;
  for (uint32_t i = 0; i < count; ++i) {
    const Napi::HandleScope scope(info.Env());
    read_utf16(array.Get(i), "texts", batch->texts[i]);
    units += batch->texts[i].size();
  }
  const size_t threads = threads_for(count, units, 1 << 16);  // below that a thread costs more than it brings

  return TokenizerJob::start(
      info.Env(),
      [batch, threads](TokenizerJob& job) {
        batch->options.cancelled = &job.cancelled();
        batch->run(threads);
      },
      [batch](Napi::Env env) -> Napi::Value {
        size_t total = 0;
        for (const auto& ids : batch->ids) total += ids.size();
        Napi::Uint32Array all = Napi::Uint32Array::New(env, total);
        uint32_t* to = all.Data();
        for (const auto& ids : batch->ids) to = std::copy(ids.begin(), ids.end(), to);
        const Napi::Array result = Napi::Array::New(env, 2);
        result.Set(0u, all);
        result.Set(1u, to_array(env, batch->counts));
        return result;
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
