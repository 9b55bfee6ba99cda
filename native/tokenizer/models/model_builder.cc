#include "tokenizer/models/model_builder.h"

#include <algorithm>
#include <limits>
#include <unordered_set>

#include "core/error.h"
#include "tokenizer/text/byte_alphabet.h"
#include "tokenizer/regex/regex.h"
#include "tokenizer/vocabulary/file_vocabulary.h"
#include "tokenizer/vocabulary/score_merges.h"
#include "tokenizer/vocabulary/text_merges.h"
#include "tokenizer/text/utf.h"

namespace heddle {
namespace {

constexpr std::string_view space_mark = "\xE2\x96\x81";  // U+2581

std::string to_utf8(std::u16string_view text) {
  std::string out;
  utf::append_utf8(text.data(), text.size(), out);
  return out;
}

// Splits texts that are stored back to back.
class Cutter {
 public:
  explicit Cutter(std::string_view text) : text_(text) {}
  std::string_view next(uint32_t length) {
    const std::string_view part = text_.substr(at_, length);
    at_ += length;
    return part;
  }

 private:
  std::string_view text_;
  size_t at_ = 0;
};

class Builder {
 public:
  explicit Builder(const TokenizerSpec& spec) : spec_(spec), model_(std::make_shared<TokenizerModel>()) {}

  std::shared_ptr<const TokenizerModel> build() {
    TokenizerModel& model = *model_;
    check_ids();
    model.vocabulary = spec_.vocabulary;
    model.kind = spec_.kind;
    model.subword_prefix = spec_.subword_prefix;
    model.word_suffix = spec_.word_suffix;
    model.max_word_characters = spec_.max_word_characters;
    normalizer_ = make_normalizer(spec_.normalizer);
    if (spec_.uses_normalizer) model.normalizer = normalizer_;
    model.normalizer_keeps_ascii = true;
    for (const auto& step : model.normalizer) model.normalizer_keeps_ascii &= step->keeps_ascii();
    model.decoder_steps = DecoderPipeline(spec_.decoder);
    model.pre_tokenizer = make_pre_tokenizer(spec_.pre_tokenizer);
    for (const auto& step : model.pre_tokenizer) model.needs_origins = model.needs_origins || step->needs_origins();
    model.byte_level = spec_.byte_level;
    model.ignore_merges = spec_.ignore_merges;
    model.byte_fallback = spec_.byte_fallback;
    model.fuse_unknown = spec_.fuse_unknown;
    model.unknown = spec_.unknown;
    model.needs_nfc = spec_.needs_nfc;
    model.spaces_to_marks = spec_.spaces_to_marks;
    model.prefix = to_utf8(spec_.prefix);
    model.prefix_rule = spec_.prefix_rule;
    model.decode_kind = spec_.decode_kind;
    model.strip_first_space = spec_.strip_first_space;
    model.begin_ids = spec_.begin_ids;
    model.end_ids = spec_.end_ids;
    add_tokens();
    find_bytes();
    add_merges();
    add_scores();
    add_added_tokens();
    model.is_special.resize(model.texts.size(), 0);
    std::vector<SplitStage> stages = spec_.stages;
    // Text is split before U+2581 only if U+2581 is never unknown. Adjacent unknown characters may form one token,
    // which a split would divide.
    const bool known_mark = model.byte_fallback || model.vocab.find(space_mark) != no_token;
    const bool cuts = spec_.whole_text_is_word && model.kind == ModelKind::bpe && !model.byte_level;
    if (cuts && !crosses_mark_ && known_mark && model.subword_prefix.empty() && model.word_suffix.empty())
      stages.push_back({SplitKind::space_runs});
    model.splitter = Splitter(std::move(stages));
    return model_;
  }

 private:
  // Tables by id are as long as the highest id. A small file must not cause large allocations.
  void check_ids() const {
    const IdBuffer& ids = spec_.texts->token_ids;
    const uint64_t count = ids.size() + spec_.added.size();
    const uint64_t most = std::min<uint64_t>(max_token_id, std::max<uint64_t>(sparse_ids, 8 * count));
    uint32_t highest = 0;
    for (const uint32_t id : ids) highest = std::max(highest, id);
    for (const SpecAddedToken& token : spec_.added) highest = std::max(highest, token.id);
    if (highest <= most) return;
    throw invalid_file("vocab: expected ids up to " + std::to_string(most) + " for a vocabulary of size " +
                       std::to_string(count) + ", got " + std::to_string(highest));
  }

  void add_tokens() {
    const VocabularyTexts& texts = *spec_.texts;
    const size_t count = texts.token_ids.size();
    TokenizerModel& model = *model_;
    const bool shares = !spec_.byte_level && spec_.vocabulary != nullptr;
    if (shares) model.vocab.share(texts.tokens.view(), spec_.vocabulary);
    const bool in_trie = spec_.kind == ModelKind::wordpiece || spec_.kind == ModelKind::unigram;
    model.vocab.reserve(count, in_trie ? 0 : count, shares ? 0 : texts.tokens.size());
    if (in_trie) model.trie.reserve(count);
    const std::unordered_set<uint32_t> hidden(spec_.hidden.begin(), spec_.hidden.end());
    Cutter cutter(texts.tokens.view()), names(texts.tokens.view());
    Vocab::NewToken tokens[at_once];
    for (size_t begin = 0; begin < count; begin += at_once) {
      const size_t end = std::min(count, begin + at_once);
      bytes_.clear();
      bytes_.room(texts.tokens.size());  // reserved, so that views into it stay valid
      for (size_t i = begin; i < end; ++i) {
        const std::string_view token = cutter.next(texts.token_lengths[i]);
        const uint32_t id = texts.token_ids[i];
        const size_t before = bytes_.size();
        const bool reachable = !spec_.byte_level || alphabet_.to_bytes(token, bytes_);
        const std::string_view bytes = spec_.byte_level && reachable ? bytes_.view().substr(before) : token;
        const bool shown = spec_.kind == ModelKind::bpe || hidden.count(id) == 0;
        // Unigram and WordPiece search the trie. In the vocabulary, only find_bytes() searches, for byte tokens.
        const bool searched = in_trie ? byte_of_token(bytes) >= 0 : shown || spec_.kind != ModelKind::word_level;
        tokens[i - begin] = {id, reachable && !bytes.empty() && searched, bytes};
        if (in_trie && !bytes.empty() && shown && can_match(bytes)) model.trie.add(bytes, id);
      }
      model.vocab.add_all(tokens, end - begin);
      // Byte-level tokens that decode to their own bytes need no other text.
      for (size_t i = begin; i < end && !decodes_to_itself(); ++i)
        add_text(texts.token_ids[i], names.next(texts.token_lengths[i]));
    }
  }

  // Whether encoding with Unigram or WordPiece can produce the token. Throws for a token that is too long: encoding may
  // take time proportional to the length of the text times the length of the longest token.
  bool can_match(std::string_view token) const {
    if (token.size() <= max_matched_characters) return true;  // there are at most as many characters as bytes
    const auto count = [](std::string_view text) {
      return std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<uint8_t>(c) & 0xC0) != 0x80; });
    };
    uint64_t most = max_matched_characters;
    const auto length = static_cast<uint64_t>(count(token));
    if (spec_.kind == ModelKind::wordpiece) {
      const auto prefix = static_cast<uint64_t>(count(spec_.subword_prefix));
      if (length > spec_.max_word_characters + prefix) return false;  // longer words are unknown
      most += prefix;
    }
    if (length <= most && token.size() <= 4 * most) return true;  // the byte limit stops malformed UTF-8
    throw invalid_file("model.vocab: expected tokens of at most " + std::to_string(most) +
                       " characters (Unigram, WordPiece), got " + std::to_string(length));
  }

  bool decodes_to_itself() const { return spec_.byte_level && spec_.decode_kind == DecodeKind::bytes; }

  // Stores the text that the token decodes to.
  void add_text(uint32_t id, std::string_view name) {
    TokenizerModel& model = *model_;
    std::string text;
    int byte = -1;
    if (spec_.decode_kind == DecodeKind::byte_fallback) {
      text = name;
      byte = byte_of_token(text);
      for (size_t at = text.find(space_mark); at != std::string::npos; at = text.find(space_mark, at + 1)) {
        text.replace(at, space_mark.size(), " ");
      }
    } else if (!alphabet_.to_bytes(name, text)) {
      text = name;
    }
    if (decodes_to_itself() && !model.vocab.has(id)) model.vocab.add(id, text, false);
    if (spec_.decode_kind == DecodeKind::steps) model.names.set(id, name);
    model.texts.set(id, text);
    if (byte < 0 && model.byte_values.size() <= id) return;
    if (model.byte_values.size() <= id) model.byte_values.resize(id + 1, -1);
    model.byte_values[id] = static_cast<int16_t>(byte);
  }

  void add_scores() {
    TokenizerModel& model = *model_;
    if (spec_.kind == ModelKind::wordpiece) model.continuing = model.trie.find(spec_.subword_prefix);
    if (spec_.kind != ModelKind::unigram) return;
    const IdBuffer& ids = spec_.texts->token_ids;
    const std::vector<double>& scores = spec_.texts->scores;
    if (scores.size() != ids.size()) {
      throw invalid_file("model.vocab: expected one score per token, got " + std::to_string(scores.size()) + " for " +
                         std::to_string(ids.size()));
    }
    model.single_precision = spec_.single_precision;
    double least = std::numeric_limits<double>::infinity();
    bool by_id = spec_.vocabulary != nullptr;
    for (size_t i = 0; i < scores.size(); ++i) {
      by_id = by_id && ids[i] == i;
      least = std::min(least, scores[i]);
    }
    if (!by_id) {
      model.own_scores.resize(model.vocab.size());
      for (size_t i = 0; i < scores.size(); ++i) model.own_scores[ids[i]] = scores[i];
    }
    model.scores = by_id ? scores.data() : model.own_scores.data();
    constexpr double penalty = 10;  // SentencePiece's penalty for text that no token covers
    model.unknown_score = least - penalty;
  }

  void find_bytes() {
    static const char hex[] = "0123456789ABCDEF";
    for (int byte = 0; byte < 256; ++byte) {
      const char raw = static_cast<char>(byte);
      const std::string named = {'<', '0', 'x', hex[byte >> 4], hex[byte & 15], '>'};
      model_->byte_ids[byte] = model_->vocab.find(spec_.byte_level ? std::string_view(&raw, 1) : named);
    }
    TokenizerModel& model = *model_;
    const bool decorated = !model.subword_prefix.empty() || !model.word_suffix.empty();
    model.every_byte_known = model.kind == ModelKind::bpe && model.byte_level && !decorated;
    for (const uint32_t id : model.byte_ids) model.every_byte_known = model.every_byte_known && id != no_token;
    if (model.every_byte_known) model.whole_tokens.resize(model.vocab.size());
  }

  void add_merges() {
    const VocabularyTexts& texts = *spec_.texts;
    if (!texts.mergeable.empty()) return add_merges_by_score();
    if (!texts.merge_tokens.empty()) return add_merges_by_number();
    const size_t count = texts.merge_lengths.size() / 2;
    if (!texts.merge_ranks.empty() && texts.merge_ranks.size() != count) {
      throw invalid_file("merges: expected one rank per merge, got " + std::to_string(texts.merge_ranks.size()) +
                         " for " + std::to_string(count));
    }
    start_merges(count);
    Cutter cutter(texts.merges.view());
    for (size_t begin = 0; begin < count; begin += at_once) {
      const size_t end = std::min(count, begin + at_once);
      bytes_.clear();
      size_t some = 0;
      size_t part_begins[2 * at_once];
      for (size_t i = begin; i < end; ++i) {
        const size_t before = bytes_.size();
        const bool left = append(cutter.next(texts.merge_lengths[2 * i]));
        const size_t middle = bytes_.size();
        const bool right = append(cutter.next(texts.merge_lengths[2 * i + 1]));
        if (!left || !right) {  // no text can contain it
          bytes_.shorten(before);
          continue;
        }
        part_begins[2 * some] = before;
        part_begins[2 * some + 1] = middle;
        numbers_[some++] = i;
      }
      std::string_view parts[2 * at_once];
      for (size_t k = 0; k < 2 * some; ++k) {
        const size_t stop = k + 1 < 2 * some ? part_begins[k + 1] : bytes_.size();
        parts[k] = bytes_.view().substr(part_begins[k], stop - part_begins[k]);
      }
      add_merges(parts, some);
    }
    finish_merges();
  }

  // Prepares for `count` merges, which end with finish_merges().
  void start_merges(size_t count) {
    TokenizerModel& model = *model_;
    const bool has_table =
        count < TextMerges::min_merges || !spec_.subword_prefix.empty() || !spec_.texts->merge_ranks.empty();
    if (!has_table && count > MergeTable::max_rank) {
      throw invalid_file(
          "merges: expected at most " + std::to_string(MergeTable::max_rank) + ", got " + std::to_string(count));
    }
    if (!has_table) by_text_ = std::make_unique<TextMerges>(model.vocab, count);
    if (has_table) model.merges.reserve(count);
    if (model.every_byte_known) model.merges.index_bytes(model.byte_ids);
  }

  void add_merge(uint32_t left, uint32_t right, Merge merge) {
    if (by_text_ != nullptr) by_text_->add(left, merge);
    if (by_text_ != nullptr) model_->merges.add_bytes(left, right, merge);
    else model_->merges.add(left, right, merge);
  }

  void finish_merges() {
    if (by_text_ != nullptr) model_->merges.use(std::move(by_text_));
  }

  // Adds merges that follow from scores. The vocabulary must not be byte-level. A token's id is its index.
  void add_merges_by_score() {
    TokenizerModel& model = *model_;
    if (spec_.byte_level || !spec_.subword_prefix.empty())
      throw invalid_file("merges: expected a list of merges for a byte-level vocabulary");
    if (spec_.texts->token_ids.size() >= TextMerges::min_scored_tokens) return add_merges_of_scored_texts();
    model.merges.reserve(usual_merges_a_token * spec_.texts->token_ids.size());
    const auto text_of = [&](uint32_t id) { return model.vocab.bytes(id); };
    const auto find = [&](std::string_view text) { return model.vocab.find(text); };
    for_each_score_merge(*spec_.texts, text_of, find, [&](const ScoreMerge& merge) {
      model.merges.add(merge.left, merge.right, {merge.rank, merge.made});
      note_marks(text_of(merge.made));
    });
  }

  void add_merges_of_scored_texts() {
    TokenizerModel& model = *model_;
    const auto text_of = [&](uint32_t id) { return model.vocab.bytes(id); };
    const auto find = [&](std::string_view text) { return model.vocab.find(text); };
    model.merges.use(std::make_unique<TextMerges>(model.vocab, score_ranks(*spec_.texts, text_of, find)));
    // Any token may be the result of a merge.
    for (uint32_t id = 0; id < model.vocab.size(); ++id) note_marks(model.vocab.bytes(id));
  }

  // Adds merges whose tokens are given by index.
  void add_merges_by_number() {
    const VocabularyTexts& texts = *spec_.texts;
    if (!spec_.subword_prefix.empty() || !texts.merge_ranks.empty())
      throw invalid_file("merges: expected texts, because the model has a prefix or ranks, got token indices");
    const uint32_t* numbers = texts.merge_tokens.data();
    const uint32_t* ids = texts.token_ids.data();
    const size_t count = texts.merge_tokens.size() / 3;
    TokenizerModel& model = *model_;
    start_merges(count);
    for (size_t i = 0; i < count; ++i) {
      constexpr size_t ahead = 16;
      if (i + ahead < count && by_text_ == nullptr)
        model.merges.prefetch(ids[numbers[3 * (i + ahead)]], ids[numbers[3 * (i + ahead) + 1]]);
      const uint32_t left = ids[numbers[3 * i]], right = ids[numbers[3 * i + 1]], made = ids[numbers[3 * i + 2]];
      // No text can contain tokens whose names are outside the alphabet.
      if (!model.vocab.is_findable(left) || !model.vocab.is_findable(right) || !model.vocab.is_findable(made)) continue;
      add_merge(left, right, {static_cast<uint32_t>(i), made});
      note_marks(model.vocab.bytes(made));
    }
    finish_merges();
  }

  // Adds the merges numbers_[0, count). `parts` has their left and right parts, which are adjacent in bytes_.
  void add_merges(const std::string_view* parts, size_t count) {
    uint32_t ids[2 * at_once];
    model_->vocab.find_all(parts, ids, 2 * count);
    for (size_t k = 0; k < count && by_text_ == nullptr; ++k) {
      if (ids[2 * k] != no_token && ids[2 * k + 1] != no_token) model_->merges.prefetch(ids[2 * k], ids[2 * k + 1]);
    }
    for (size_t k = 0; k < count; ++k) {
      const std::string_view left = parts[2 * k], right = parts[2 * k + 1];
      const size_t i = numbers_[k];
      for (int side = 0; side < 2; ++side) {
        if (ids[2 * k + side] == no_token) throw missing(parts[2 * k + side], i);
      }
      std::string joined;  // the merged bytes, if the right part loses its prefix
      std::string_view both(left.data(), left.size() + right.size());
      if (!spec_.subword_prefix.empty()) {
        joined.append(left).append(right.substr(std::min(right.size(), spec_.subword_prefix.size())));
        both = joined;
      }
      const std::vector<uint32_t>& ranks = spec_.texts->merge_ranks;
      const uint32_t rank = ranks.empty() ? static_cast<uint32_t>(i) : ranks[i];
      if (rank == no_token) throw invalid_file("merges: expected ranks below 2^32-1, got 2^32-1");
      add_merge(ids[2 * k], ids[2 * k + 1], {rank, find_made(both, i)});
      note_marks(both);
    }
  }

  // Appends the bytes of the part. Returns false if no text can contain it.
  bool append(std::string_view part) {
    if (spec_.byte_level) return alphabet_.to_bytes(part, bytes_);
    bytes_.append(part);
    return true;
  }

  // Returns the token that a merge produces. In most files it is the token after the previous result, or the previous
  // result again.
  uint32_t find_made(std::string_view bytes, size_t merge) {
    const Vocab& vocab = model_->vocab;
    if (!bytes.empty()) {
      for (const uint32_t guess : {last_made_ + 1, last_made_}) {
        if (vocab.bytes(guess) == bytes && vocab.is_findable(guess)) return last_made_ = guess;
      }
    }
    const uint32_t id = vocab.find(bytes);
    if (id == no_token) throw missing(bytes, merge);
    return last_made_ = id;
  }

  static Error missing(std::string_view bytes, size_t merge) {
    std::string shown;
    utf::append_lossy(bytes.substr(0, 40), shown);
    return invalid_file("merges[" + std::to_string(merge) + "]: token \"" + shown + "\" is not in the vocabulary");
  }

  // Notes whether a merge produces a token with U+2581 after another character. If none does, text can be split before
  // each run of U+2581 without changing any id, and short words can be cached.
  void note_marks(std::string_view token) {
    if (spec_.byte_level || crosses_mark_) return;
    size_t at = 0;
    while (token.substr(at, space_mark.size()) == space_mark) at += space_mark.size();
    crosses_mark_ = token.find(space_mark, at) != std::string_view::npos;
  }

  void add_added_tokens() {
    std::vector<AddedToken> raw, normalized;
    std::vector<std::string> guarded;  // contents of the guarded tokens that match normalized text
    RegexBudget budget(0);             // for all tokens, of which there may be many
    for (const SpecAddedToken& token : spec_.added) {
      if (token.id > max_token_id) {
        throw invalid_file(
            "added_tokens: expected ids up to " + std::to_string(max_token_id) + ", got " + std::to_string(token.id));
      }
      std::string search = to_utf8(token.content);
      if (token.normalized) {
        if (token.guarded) guarded.push_back(search);
        NormalizedText text;
        text.assign(search, 0, false);
        budget.grow(search.size());
        text.regex_budget = &budget;
        for (const auto& step : normalizer_) step->run(text);
        search = std::move(text.text);
      }
      add_text(token.id, search);  // normalized if the token is, like in Hugging Face's library
      if (model_->is_special.size() <= token.id) model_->is_special.resize(token.id + 1, 0);
      model_->is_special[token.id] = token.special;
      AddedToken added{search, token.id, token.single_word, token.lstrip, token.rstrip, token.special, token.guarded};
      if (added.content.empty()) continue;  // a normalizer may remove the whole content
      (token.normalized ? normalized : raw).push_back(std::move(added));
    }
    std::vector<StepSpec> changing;
    for (const StepSpec& step : spec_.normalizer) {
      if (step.type != "Prepend") changing.push_back(step);
    }
    if (!changing.empty() && !guarded.empty()) model_->guard = GuardCharacters(make_normalizer(changing), guarded);
    model_->raw_added = AddedTokenMatcher(std::move(raw));
    model_->normalized_added = AddedTokenMatcher(std::move(normalized));
  }

  static constexpr size_t at_once = Vocab::max_at_once / 2;
  static constexpr uint64_t sparse_ids = 1 << 19;    // any vocabulary may use ids up to this
  static constexpr size_t usual_merges_a_token = 2;  // typical of merges by score; only reserves memory

  const TokenizerSpec& spec_;
  std::shared_ptr<TokenizerModel> model_;
  ByteAlphabet alphabet_;
  Normalizer normalizer_;
  TextBuffer bytes_;
  std::unique_ptr<TextMerges> by_text_;  // null if the model's table takes the merges
  size_t numbers_[at_once];              // indices of merges
  uint32_t last_made_ = 0;
  bool crosses_mark_ = false;
};

}  // namespace

std::shared_ptr<const TokenizerModel> build_tokenizer(const TokenizerSpec& spec) { return Builder(spec).build(); }

}  // namespace heddle
