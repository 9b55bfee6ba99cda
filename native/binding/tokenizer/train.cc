// NativeTrainer: trains vocabularies off the JavaScript thread.
#include <algorithm>
#include <exception>
#include <memory>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "binding/arrays.h"
#include "binding/tokenizer/utf16_batch.h"
#include "binding/guard.h"
#include "binding/handle.h"
#include "binding/init.h"
#include "binding/tokenizer/tokenizer.h"
#include "binding/tokenizer/job.h"
#include "core/error.h"
#include "tokenizer/training/trainer.h"
#include "tokenizer/training/unigram_trainer.h"
#include "tokenizer/text/utf.h"

namespace heddle {
namespace {

Cancellation cancellation_of(const TokenizerJob& job) { return job.cancellation("Tokenizer.train: aborted"); }

// In JavaScript: class NativeTrainer { constructor(rule, specialTokens); read(texts, continues); forget();
// feed(threads); trainBytes(…); trainCharacters(…); trainPieces(…) }. feed and the train methods return a job. A job of
// T is { promise: Promise<T>, cancel() }. Only one job may run at a time.
class NativeTrainer : public Handle<NativeTrainer> {
 public:
  static constexpr napi_type_tag tag = {0x7e2b90d45f1c4a6bULL, 0xa04d83c6e1f72b59ULL};
  static constexpr const char* class_name = "NativeTrainer";
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, class_name,
        {InstanceMethod<&NativeTrainer::read>("read"), InstanceMethod<&NativeTrainer::forget>("forget"),
            InstanceMethod<&NativeTrainer::feed>("feed"), InstanceMethod<&NativeTrainer::train_bytes>("trainBytes"),
            InstanceMethod<&NativeTrainer::train_characters>("trainCharacters"),
            InstanceMethod<&NativeTrainer::train_pieces>("trainPieces")});
  }

  // `rule`: Uint32Array of split stages, or { normalizer, preTokenizer }.
  explicit NativeTrainer(const Napi::CallbackInfo& info) : Handle(info) {
    guard(info, [&] {
      const std::vector<std::string> specials = to_utf8_strings(info[1], "specialTokens");
      state_ = std::make_shared<State>();
      if (info[0].IsTypedArray()) {
        state_->rule = std::make_shared<const WordRule>(to_stages(info[0]), specials);
      } else if (info[0].IsObject()) {
        const Napi::Object rule = info[0].As<Napi::Object>();
        state_->rule = std::make_shared<const WordRule>(make_normalizer(to_steps(rule.Get("normalizer"))),
            make_pre_tokenizer(to_steps(rule.Get("preTokenizer"))), specials);
      } else {
        throw invalid_argument("rule: expected a Uint32Array of split stages or { normalizer, preTokenizer }");
      }
      info.This().As<Napi::Object>().TypeTag(&tag);
    });
  }

 private:
  struct State {
    std::shared_ptr<const WordRule> rule;
    std::vector<WordCounts> counts;  // one per thread, until all() merges them
    std::atomic<bool> busy{false};
  };

  // Marks the state as in use. A job holds one Use. Meanwhile, the constructor of another Use throws.
  class Use {
   public:
    explicit Use(std::shared_ptr<State> state) : state_(std::move(state)) {
      if (state_->busy.exchange(true)) throw invalid_argument("trainer: expected no other job in progress");
    }
    ~Use() { state_->busy = false; }
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;

    // Counts the words of the texts. Thread t mod `threads` counts text t.
    void feed(const Utf16Batch& given, size_t threads, const Cancellation& cancellation) {
      std::vector<WordCounts>& counts = state_->counts;
      while (counts.size() < threads) counts.emplace_back(state_->rule);
      std::vector<std::exception_ptr> failures(threads);
      const auto count = [&](size_t thread) {
        try {
          std::string text;
          for (size_t t = thread; t < given.texts().size(); t += threads) {
            text.clear();
            utf::append_utf8(given.units() + given.texts()[t].begin, given.texts()[t].length, text);
            counts[thread].add_text(text, cancellation);
          }
        } catch (...) {
          failures[thread] = std::current_exception();
        }
      };
      std::vector<std::thread> helpers;
      size_t started = 1;
      try {
        for (; started < threads; ++started) helpers.emplace_back(count, started);
      } catch (const std::system_error&) {  // no more threads: this thread does their share
      }
      count(0);
      for (; started < threads; ++started) count(started);
      for (std::thread& helper : helpers) helper.join();
      for (const std::exception_ptr& failure : failures) {
        if (failure) std::rethrow_exception(failure);
      }
    }

    // Merges the counts of all threads and sorts the words by their bytes. The result does not depend on which thread
    // counted a word.
    const WordCounts& all() {
      std::vector<WordCounts>& counts = state_->counts;
      if (counts.empty()) counts.emplace_back(state_->rule);
      for (size_t i = 1; i < counts.size(); ++i) counts[0].add(counts[i]);
      counts.erase(counts.begin() + 1, counts.end());
      counts[0].sort();
      return counts[0];
    }

   private:
    std::shared_ptr<State> state_;
  };

  static NativeTrainer* from(const Napi::CallbackInfo& info) {
    if (!info.This().IsObject() || !info.This().As<Napi::Object>().CheckTypeTag(&tag)) {
      throw invalid_argument("trainer: expected a NativeTrainer, got something else");
    }
    return Unwrap(info.This().As<Napi::Object>());
  }
  static std::shared_ptr<Use> use(const Napi::CallbackInfo& info) { return std::make_shared<Use>(from(info)->state_); }

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

  static double number(const Napi::Object& object, const char* name, double fallback) {
    const Napi::Value value = object.Get(name);
    return value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : fallback;
  }

  static uint32_t uint32_field(const Napi::Object& object, const char* name) {
    return to_uint32(object.Get(name), name);
  }

  static Napi::Array to_strings(Napi::Env env, const std::vector<std::string>& strings) {
    const Napi::Array array = Napi::Array::New(env, strings.size());
    for (uint32_t i = 0; i < strings.size(); ++i) {
      const Napi::HandleScope scope(env);
      array.Set(i, to_string(env, strings[i]));
    }
    return array;
  }

  static Napi::Value to_merges(Napi::Env env, const std::vector<TrainedMerge>& merges) {
    Napi::Uint32Array array = new_uint32_array(env, 3 * merges.size());
    uint32_t* to = array.Data();
    for (const TrainedMerge& merge : merges) {
      *to++ = merge.left;
      *to++ = merge.right;
      *to++ = merge.token;
    }
    return array;
  }

  // read(texts, continues): adds texts for the next feed. With `continues`, the first text is appended to the last text
  // of the previous call.
  Napi::Value read(const Napi::CallbackInfo& info) {
    return guard(info, [&] { from(info)->given_.read(info[0], info[1].ToBoolean().Value()); });
  }

  // forget(): discards texts that were read but not fed, and frees their memory at once. The garbage collector does not
  // know their size and would free them late.
  Napi::Value forget(const Napi::CallbackInfo& info) {
    return guard(info, [&] {
      from(info)->given_.assert_idle();
      from(info)->given_ = Utf16Batch();
    });
  }

  // feed(threads) -> job of undefined.
  Napi::Value feed(const Napi::CallbackInfo& info) {
    return guard(info, [&]() -> Napi::Value {
      const std::shared_ptr<Use> self = use(info);
      from(info)->given_.assert_idle();
      const size_t threads = std::min<size_t>(std::max<uint32_t>(1, to_uint32(info[0], "threads")), 256);
      const auto given = std::make_shared<Utf16Batch>(std::exchange(from(info)->given_, Utf16Batch()));
      return TokenizerJob::start(info.Env(), [self, given, threads](TokenizerJob& job) {
        self->feed(*given, threads, cancellation_of(job));
      }, [](Napi::Env env) -> Napi::Value { return env.Undefined(); }, info.Env().Undefined());
    });
  }

  // trainBytes(tokens, minCount, progress?) -> job of a Uint32Array: left, right, token of each merge.
  Napi::Value train_bytes(const Napi::CallbackInfo& info) {
    return guard(info, [&]() -> Napi::Value {
      const std::shared_ptr<Use> self = use(info);
      auto merges = std::make_shared<std::vector<TrainedMerge>>();
      TrainOptions options;
      options.tokens = to_uint32(info[0], "tokens");
      options.min_count = to_uint32(info[1], "minCount");
      return TokenizerJob::start(info.Env(), [self, merges, options](TokenizerJob& job) mutable {
        options.cancellation = cancellation_of(job);
        options.progress = [&](uint32_t done) { job.report(done, options.tokens); };
        *merges = train_bpe(self->all(), options);
        job.report(static_cast<double>(merges->size()), options.tokens);
      }, [merges](Napi::Env env) -> Napi::Value { return to_merges(env, *merges); }, info[2]);
    });
  }

  static AlphabetOptions to_alphabet(const Napi::Object& object) {
    AlphabetOptions options;
    options.coverage = number(object, "coverage", 1);
    options.limit =
        static_cast<uint32_t>(std::min(4294967295.0, std::max(0.0, number(object, "alphabetLimit", 4294967295.0))));
    options.subword_prefix = to_utf8(object.Get("subwordPrefix"), "subwordPrefix");
    return options;
  }

  static Napi::Object to_options_object(const Napi::Value& value) {
    if (!value.IsObject()) throw invalid_argument("options: expected an object, got something else");
    return value.As<Napi::Object>();
  }

  // trainCharacters({ tokens, minCount, coverage, alphabetLimit, subwordPrefix }, progress?) -> job of [alphabet,
  // merges]. `tokens` includes the alphabet.
  Napi::Value train_characters(const Napi::CallbackInfo& info) {
    return guard(info, [&]() -> Napi::Value {
      const std::shared_ptr<Use> self = use(info);
      const Napi::Object object = to_options_object(info[0]);
      struct Trained {
        std::vector<std::string> alphabet;
        std::vector<TrainedMerge> merges;
      };
      auto trained = std::make_shared<Trained>();
      const AlphabetOptions alphabet = to_alphabet(object);
      const uint32_t tokens = uint32_field(object, "tokens");
      TrainOptions options;
      options.min_count = uint32_field(object, "minCount");
      return TokenizerJob::start(info.Env(), [=](TokenizerJob& job) mutable {
        options.cancellation = cancellation_of(job);
        options.progress = [&](uint32_t done) { job.report(done, options.tokens); };
        SymbolWords words = to_symbols(self->all(), alphabet);
        const auto size = static_cast<uint32_t>(words.alphabet.size());
        options.tokens = tokens > size ? tokens - size : 0;
        trained->merges = train_bpe(words, options);
        trained->alphabet = std::move(words.alphabet);
        job.report(static_cast<double>(trained->merges.size()), options.tokens);
      }, [trained](Napi::Env env) -> Napi::Value {
        const Napi::Array result = Napi::Array::New(env, 2);
        result.Set(0u, to_strings(env, trained->alphabet));
        result.Set(1u, to_merges(env, trained->merges));
        return result;
      }, info[1]);
    });
  }

  // trainPieces({ tokens, seeds, maxPieceLength, shrinkingFactor, subIterations, coverage, threads }, progress?) -> job
  // of [texts, scores], best first. `tokens` includes the alphabet.
  Napi::Value train_pieces(const Napi::CallbackInfo& info) {
    return guard(info, [&]() -> Napi::Value {
      const std::shared_ptr<Use> self = use(info);
      const Napi::Object object = to_options_object(info[0]);
      UnigramOptions options;
      options.tokens = uint32_field(object, "tokens");
      options.seeds = uint32_field(object, "seeds");
      options.max_piece_length =
          std::min<uint32_t>(std::max<uint32_t>(1, uint32_field(object, "maxPieceLength")), 1024);
      options.shrinking_factor = number(object, "shrinkingFactor", 0.75);
      options.sub_iterations = uint32_field(object, "subIterations");
      options.threads = std::min<size_t>(std::max<uint32_t>(1, uint32_field(object, "threads")), 256);
      options.alphabet = to_alphabet(object);
      if (!(options.shrinking_factor > 0 && options.shrinking_factor < 1))
        throw invalid_argument(
            "shrinkingFactor: expected a number between 0 and 1, got " + std::to_string(options.shrinking_factor));
      auto pieces = std::make_shared<std::vector<TrainedPiece>>();
      return TokenizerJob::start(info.Env(), [self, pieces, options](TokenizerJob& job) mutable {
        options.cancellation = cancellation_of(job);
        options.progress = [&](uint32_t done, uint32_t total) { job.report(done, total); };
        *pieces = train_unigram(self->all(), options);
      }, [pieces](Napi::Env env) -> Napi::Value {
        const Napi::Array texts = Napi::Array::New(env, pieces->size());
        Napi::Float64Array scores = Napi::Float64Array::New(env, pieces->size());
        for (uint32_t i = 0; i < pieces->size(); ++i) {
          const Napi::HandleScope scope(env);
          texts.Set(i, to_string(env, (*pieces)[i].text));
          scores.Data()[i] = (*pieces)[i].score;
        }
        const Napi::Array result = Napi::Array::New(env, 2);
        result.Set(0u, texts);
        result.Set(1u, scores);
        return result;
      }, info[1]);
    });
  }

  std::shared_ptr<State> state_;
  Utf16Batch given_;  // texts for the next feed
};

void init_trainer(Napi::Env env, Napi::Object exports) { exports.Set("NativeTrainer", NativeTrainer::define(env)); }
BindingInit registered(init_trainer);

}  // namespace
}  // namespace heddle
