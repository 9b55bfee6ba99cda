#include "tokenizer/shared_models.h"

#include <iterator>
#include <map>
#include <mutex>
#include <type_traits>

#include "tokenizer/hash_secret.h"
#include "tokenizer/sip_hash.h"

namespace heddle {
namespace {

// A 128-bit hash of all fields of a specification and their lengths. Tokenizers with equal digests share their tables.
// A keyed hash with a secret of this process prevents crafted collisions.
class Digest {
 public:
  using Value = SipHash::Value;

  explicit Digest(const TokenizerSpec& spec) {
    const VocabularyTexts& texts = *spec.texts;
    add(texts.tokens, texts.token_lengths, texts.token_ids, texts.merges, texts.merge_lengths, texts.merge_tokens,
        texts.merge_ranks, texts.scores, texts.mergeable);
    add(spec.added.size());
    for (const SpecAddedToken& token : spec.added) {
      add(token.content, token.id, token.single_word, token.lstrip, token.rstrip, token.special, token.guarded,
          token.normalized);
    }
    add(spec.stages.size());
    for (const SplitStage& stage : spec.stages) add(stage.kind, stage.max_digits, stage.contractions);
    for (const std::vector<StepSpec>* steps : {&spec.normalizer, &spec.pre_tokenizer, &spec.decoder}) {
      add(steps->size());
      for (const StepSpec& step : *steps) add_step(step);
    }
    add(spec.uses_normalizer, spec.kind, spec.subword_prefix, spec.word_suffix, spec.max_word_characters,
        spec.single_precision, spec.hidden, spec.begin_ids, spec.end_ids, spec.byte_level, spec.ignore_merges,
        spec.byte_fallback, spec.fuse_unknown, spec.needs_nfc, spec.spaces_to_marks, spec.strip_first_space,
        spec.whole_text_is_word, spec.unknown, spec.prefix, spec.prefix_rule, spec.decode_kind);
  }
  Value value() const { return hash_.value(); }

 private:
  void add_step(const StepSpec& step) {
    add(step.type, step.pattern, step.is_regex, step.content, step.bytes, step.longest, step.left, step.right,
        step.clean, step.chinese, step.accents, step.lower, step.invert, step.each, step.prefix, step.cuts, step.number,
        step.max_digits, step.contractions);
  }
#if defined(__GLIBCXX__) && defined(__x86_64__)
  // A new field changes these sizes. Add it above first, then update them.
  static_assert(sizeof(StepSpec) == 160 && sizeof(SpecAddedToken) == 48 && sizeof(SplitStage) == 3 &&
                sizeof(TokenizerSpec) == 360);
#endif

  template <class... Parts> void add(const Parts&... parts) { (add_part(parts), ...); }
  template <class T> std::enable_if_t<std::is_integral_v<T> || std::is_enum_v<T>> add_part(T value) {
    hash_.add(static_cast<uint64_t>(value));
  }
  template <class T> void add_part(const std::basic_string<T>& text) {
    add_bytes(text.data(), text.size() * sizeof(T));
  }
  template <class T> void add_part(const std::vector<T>& list) { add_bytes(list.data(), list.size() * sizeof(T)); }
  void add_part(const TextBuffer& text) { add_bytes(text.data(), text.size()); }
  void add_part(const IdBuffer& list) { add_bytes(list.data(), list.size() * sizeof(uint32_t)); }
  void add_bytes(const void* bytes, size_t size) { hash_.add_bytes(bytes, size); }

  SipHash hash_{hash_secret.digest};
};

struct Models {
  std::mutex mutex;
  std::map<Digest::Value, std::weak_ptr<const TokenizerModel>> by_digest;
};

// Never destroyed, because other threads may still use it while the process exits.
Models& models() {
  static Models* all = new Models();
  return *all;
}

}  // namespace

std::shared_ptr<const TokenizerModel> shared_tokenizer(const TokenizerSpec& spec) {
  const Digest::Value digest = Digest(spec).value();
  Models& all = models();
  const auto find = [&]() -> std::shared_ptr<const TokenizerModel> {
    const auto found = all.by_digest.find(digest);
    return found != all.by_digest.end() ? found->second.lock() : nullptr;
  };
  {
    const std::lock_guard<std::mutex> lock(all.mutex);
    if (auto model = find()) return model;
  }
  std::shared_ptr<const TokenizerModel> made = build_tokenizer(spec);
  const std::lock_guard<std::mutex> lock(all.mutex);
  if (auto model = find()) return model;  // another thread was faster
  for (auto it = all.by_digest.begin(); it != all.by_digest.end();) {
    it = it->second.expired() ? all.by_digest.erase(it) : std::next(it);
  }
  all.by_digest[digest] = made;
  return made;
}

}  // namespace heddle
