// NativeTrainer: training of a vocabulary away from the JavaScript thread.
#include <memory>
#include <string>
#include <vector>

#include "binding/guard.h"
#include "binding/init.h"
#include "binding/tokenizer.h"
#include "binding/tokenizer_job.h"
#include "runtime/error.h"
#include "tokenizer/trainer.h"
#include "tokenizer/utf.h"

namespace heddle {
namespace {

constexpr napi_type_tag trainer_tag = {0x7e2b90d45f1c4a6bULL, 0xa04d83c6e1f72b59ULL};

// In JavaScript: class NativeTrainer { constructor(stages, specialTokens); feed(texts); train(tokens, minCount, progress) }.
// Both return a job; one at a time.
class NativeTrainer : public Napi::ObjectWrap<NativeTrainer> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "NativeTrainer",
                       {InstanceMethod<&NativeTrainer::feed>("feed"), InstanceMethod<&NativeTrainer::train>("train")});
  }

  explicit NativeTrainer(const Napi::CallbackInfo& info) : Napi::ObjectWrap<NativeTrainer>(info) {
    guard(info, [&] {
      state_ = std::make_shared<State>(to_stages(info[0]), to_utf8_strings(info[1], "specialTokens"));
      info.This().As<Napi::Object>().TypeTag(&trainer_tag);
    });
  }

 private:
  struct State {
    State(std::vector<SplitStage> stages, const std::vector<std::string>& specials)
        : counts(std::move(stages), specials) {}
    WordCounts counts;
    std::atomic<bool> busy{false};
  };

  // Marks the state as in use for as long as a job holds it.
  class Use {
   public:
    explicit Use(std::shared_ptr<State> state) : state_(std::move(state)) {
      if (state_->busy.exchange(true)) throw invalid_argument("NativeTrainer: one job at a time");
    }
    ~Use() { state_->busy = false; }
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;
    WordCounts& counts() { return state_->counts; }

   private:
    std::shared_ptr<State> state_;
  };

  static std::shared_ptr<Use> use(const Napi::CallbackInfo& info) {
    if (!info.This().IsObject() || !info.This().As<Napi::Object>().CheckTypeTag(&trainer_tag)) {
      throw invalid_argument("trainer: expected a NativeTrainer, got something else");
    }
    return std::make_shared<Use>(Unwrap(info.This().As<Napi::Object>())->state_);
  }

  static std::vector<std::string> to_utf8_strings(const Napi::Value& value, const char* name) {
    if (!value.IsArray()) throw invalid_argument(std::string(name) + ": expected an array of strings");
    const Napi::Array array = value.As<Napi::Array>();
    std::vector<std::string> strings(array.Length());
    std::u16string text;
    for (uint32_t i = 0; i < array.Length(); ++i) {
      const Napi::HandleScope scope(array.Env());
      read_utf16(array.Get(i), name, text);
      utf::append_utf8(text.data(), text.size(), strings[i]);
    }
    return strings;
  }

  // feed(texts) -> job of undefined.
  Napi::Value feed(const Napi::CallbackInfo& info) {
    return guard(info, [&]() -> Napi::Value {
      const std::shared_ptr<Use> self = use(info);
      auto texts = std::make_shared<std::vector<std::string>>(to_utf8_strings(info[0], "texts"));
      return TokenizerJob::start(
          info.Env(),
          [self, texts](TokenizerJob& job) {
            for (const std::string& text : *texts) self->counts().add_text(text, job.cancelled());
          },
          [](Napi::Env env) -> Napi::Value { return env.Undefined(); }, info.Env().Undefined());
    });
  }

  // train(tokens, minCount, progress?) -> job of a Uint32Array: left, right, token of each merge.
  Napi::Value train(const Napi::CallbackInfo& info) {
    return guard(info, [&]() -> Napi::Value {
      const std::shared_ptr<Use> self = use(info);
      auto merges = std::make_shared<std::vector<TrainedMerge>>();
      TrainOptions options;
      options.tokens = to_flags(info[0]);
      options.min_count = to_flags(info[1]);
      return TokenizerJob::start(
          info.Env(),
          [self, merges, options](TokenizerJob& job) mutable {
            options.cancelled = &job.cancelled();
            options.progress = [&](uint32_t done) { job.report(done, options.tokens); };
            *merges = train_bpe(self->counts(), options);
            job.report(static_cast<double>(merges->size()), options.tokens);
          },
          [merges](Napi::Env env) -> Napi::Value {
            Napi::Uint32Array array = Napi::Uint32Array::New(env, 3 * merges->size());
            uint32_t* to = array.Data();
            for (const TrainedMerge& merge : *merges) {
              *to++ = merge.left;
              *to++ = merge.right;
              *to++ = merge.token;
            }
            return array;
          },
          info[2]);
    });
  }

  std::shared_ptr<State> state_;
};

void init_trainer(Napi::Env env, Napi::Object exports) { exports.Set("NativeTrainer", NativeTrainer::define(env)); }
BindingInit registered(init_trainer);

}  // namespace
}  // namespace heddle
