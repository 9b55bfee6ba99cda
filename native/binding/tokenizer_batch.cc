// Many texts at once, away from the JavaScript thread.
#include <algorithm>
#include <thread>

#include "binding/tokenizer.h"
#include "binding/tokenizer_job.h"
#include "runtime/error.h"

namespace heddle {
namespace {

struct Batch {
  std::shared_ptr<const TokenizerModel> model;
  std::vector<std::u16string> texts;
  EncodeOptions options;
  std::vector<std::vector<uint32_t>> ids;
  std::vector<uint32_t> counts;
  std::atomic<size_t> next{0};

  void run() {
    Encoder encoder(model);
    Encoding encoding;
    for (size_t i = next++; i < texts.size(); i = next++) {
      if (options.cancelled->load(std::memory_order_relaxed)) throw Error("ABORTED", "encode: aborted");
      encoding.ids.clear();
      encoder.encode(texts[i].data(), texts[i].size(), options, {}, encoding);
      counts[i] = static_cast<uint32_t>(encoding.ids.size());
      ids[i] = encoding.ids;
    }
  }
};

// The texts on up to `threads` threads, this one included. The first exception wins.
void run_parallel(Batch& batch, size_t threads) {
  std::vector<std::exception_ptr> failures(threads);
  std::vector<std::thread> helpers;
  const auto work = [&](size_t index) {
    try {
      batch.run();
    } catch (...) {
      failures[index] = std::current_exception();
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

}  // namespace

Napi::Value start_encode_batch(const Napi::CallbackInfo& info, std::shared_ptr<const TokenizerModel> model) {
  if (!info[0].IsArray()) throw invalid_argument("texts: expected an array of strings, got something else");
  const Napi::Array array = info[0].As<Napi::Array>();
  auto batch = std::make_shared<Batch>();
  batch->model = std::move(model);
  batch->options = to_options(to_flags(info[1]) & ~flag_offsets);
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
  constexpr size_t units_a_thread = 1 << 16;  // below that a thread costs more than it brings
  const size_t wanted = std::min<size_t>({count, units / units_a_thread, std::thread::hardware_concurrency()});
  const size_t threads = std::max<size_t>(1, wanted);

  return TokenizerJob::start(
      info.Env(),
      [batch, threads](TokenizerJob& job) {
        batch->options.cancelled = &job.cancelled();
        run_parallel(*batch, threads);
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

}  // namespace heddle
