#include "tokenizer/model_builder.h"

#include <algorithm>
#include <limits>
#include <unordered_set>

#include "runtime/error.h"
#include "tokenizer/byte_alphabet.h"
#include "tokenizer/utf.h"

namespace heddle {
namespace {

constexpr std::string_view space_mark = "\xE2\x96\x81";  // U+2581

std::string to_utf8(std::u16string_view text) {
  std::string out;
  utf::append_utf8(text.data(), text.size(), out);
  return out;
}

// Cuts the concatenated texts of a spec; every cut is checked against the end.
class Cutter {
 public:
  Cutter(const char* name, std::u16string_view text) : name_(name), text_(text) {}
  std::u16string_view next(uint32_t length) {
    if (length > text_.size() - at_) {
      throw invalid_file(std::string(name_) + ": lengths add up to more than the text's " +
                         std::to_string(text_.size()));
    }
    const std::u16string_view part = text_.substr(at_, length);
    at_ += length;
    return part;
  }

 private:
  const char* name_;
  std::u16string_view text_;
  size_t at_ = 0;
};

class Builder {
 public:
  explicit Builder(const TokenizerSpec& spec) : spec_(spec), model_(std::make_shared<TokenizerModel>()) {}

  std::shared_ptr<const TokenizerModel> build() {
    TokenizerModel& model = *model_;
    model.kind = spec_.kind;
    model.subword_prefix = spec_.subword_prefix;
    model.word_suffix = spec_.word_suffix;
    model.max_word_characters = spec_.max_word_characters;
    normalizer_ = make_normalizer(spec_.normalizer);
    if (spec_.uses_normalizer) model.normalizer = normalizer_;
    model.normalizer_keeps_ascii = true;
    for (const auto& step : model.normalizer) model.normalizer_keeps_ascii &= step->keeps_ascii();
    model.decoder_steps = make_decoder_steps(spec_.decoder);
    model.joins_with_space = spec_.decoder.empty();
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
    std::vector<SplitStage> stages = spec_.stages;
    // Unknown characters may be one token across words: then every word's mark must be known.
    const bool known_mark = model.byte_fallback || model.vocab.find(space_mark) != no_token;
    const bool cuts = spec_.whole_text_is_word && model.kind == ModelKind::bpe && !model.byte_level;
    if (cuts && !crosses_mark_ && known_mark && model.subword_prefix.empty() && model.word_suffix.empty()) stages.push_back({SplitKind::space_runs});
    model.splitter = Splitter(std::move(stages));
    return model_;
  }

 private:
  void add_tokens() {
    if (spec_.token_ids.size() != spec_.token_lengths.size()) {
      throw invalid_file("vocab: expected one id a token, got " + std::to_string(spec_.token_ids.size()) + " for " +
                         std::to_string(spec_.token_lengths.size()));
    }
    model_->vocab.reserve(spec_.token_ids.size());
    const std::unordered_set<uint32_t> hidden(spec_.hidden.begin(), spec_.hidden.end());
    Cutter cutter("vocab", spec_.tokens);
    for (size_t i = 0; i < spec_.token_ids.size(); ++i) {
      const std::u16string_view token = cutter.next(spec_.token_lengths[i]);
      bytes_.clear();
      const bool reachable = !spec_.byte_level || alphabet_.to_bytes(token, bytes_);
      if (!spec_.byte_level || !reachable) bytes_ = to_utf8(token);
      const bool shown = hidden.count(spec_.token_ids[i]) == 0;
      model_->vocab.add(spec_.token_ids[i], bytes_,
                        reachable && !bytes_.empty() && (shown || spec_.kind != ModelKind::word_level));
      const bool in_trie = spec_.kind == ModelKind::wordpiece || spec_.kind == ModelKind::unigram;
      if (in_trie && !bytes_.empty() && shown) model_->trie.add(bytes_, spec_.token_ids[i]);
      if (reachable && spec_.byte_level && spec_.decode_kind == DecodeKind::bytes) put_text(spec_.token_ids[i], bytes_, -1);
      else add_text(spec_.token_ids[i], to_utf8(token));
    }
  }

  // What the token decodes to.
  void add_text(uint32_t id, const std::string& name) {
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
    if (spec_.decode_kind == DecodeKind::steps) model_->names.add(id, name, false);
    put_text(id, text, byte);
  }

  void put_text(uint32_t id, const std::string& text, int byte) {
    model_->text.add(id, text, false);
    const size_t size = model_->text.size();
    if (model_->byte_value.size() < size) model_->byte_value.resize(size, -1);
    if (model_->is_special.size() < size) model_->is_special.resize(size, 0);
    model_->byte_value[id] = static_cast<int16_t>(byte);
  }

  void add_scores() {
    TokenizerModel& model = *model_;
    if (spec_.kind == ModelKind::wordpiece) model.continuing = model.trie.find(spec_.subword_prefix);
    if (spec_.kind != ModelKind::unigram) return;
    if (spec_.scores.size() != spec_.token_ids.size()) {
      throw invalid_file("model.vocab: expected one score a token, got " + std::to_string(spec_.scores.size()) +
                         " for " + std::to_string(spec_.token_ids.size()));
    }
    model.scores.resize(model.vocab.size());
    double least = std::numeric_limits<double>::infinity();
    for (size_t i = 0; i < spec_.scores.size(); ++i) {
      model.scores[spec_.token_ids[i]] = spec_.scores[i];
      least = std::min(least, spec_.scores[i]);
    }
    constexpr double penalty = 10;  // SentencePiece's, for what no token covers
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
    if (spec_.merge_lengths.size() % 2 != 0) throw invalid_file("merges: expected two parts each");
    const size_t count = spec_.merge_lengths.size() / 2;
    if (!spec_.merge_ranks.empty() && spec_.merge_ranks.size() != count) {
      throw invalid_file("merges: expected one rank each, got " + std::to_string(spec_.merge_ranks.size()) + " for " +
                         std::to_string(count));
    }
    model_->merges.reserve(count);
    if (model_->every_byte_known) model_->merges.index_bytes(model_->byte_ids);
    Cutter cutter("merges", spec_.merges);
    for (size_t i = 0; i < count; ++i) {
      const std::u16string_view left = cutter.next(spec_.merge_lengths[2 * i]);
      const std::u16string_view right = cutter.next(spec_.merge_lengths[2 * i + 1]);
      std::string both;
      const size_t left_size = append(left, both);
      if (left_size == std::string::npos || append(right, both) == std::string::npos) continue;
      const uint32_t left_id = find(std::string_view(both).substr(0, left_size), i);
      const uint32_t right_id = find(std::string_view(both).substr(left_size), i);
      if (!spec_.subword_prefix.empty()) both.erase(left_size, spec_.subword_prefix.size());
      const uint32_t rank = spec_.merge_ranks.empty() ? static_cast<uint32_t>(i) : spec_.merge_ranks[i];
      if (rank == no_token) throw invalid_file("merges: rank out of range");
      model_->merges.add(left_id, right_id, {rank, find(both, i)});
      note_marks(both);
    }
  }

  // Appends what the part stands for and returns the new size; npos if no text can contain it.
  size_t append(std::u16string_view part, std::string& out) const {
    if (!spec_.byte_level) {
      utf::append_utf8(part.data(), part.size(), out);
    } else if (!alphabet_.to_bytes(part, out)) {
      return std::string::npos;
    }
    return out.size();
  }

  uint32_t find(std::string_view bytes, size_t merge) const {
    const uint32_t id = model_->vocab.find(bytes);
    if (id == no_token) {
      std::string shown;
      utf::append_lossy(bytes.substr(0, 40), shown);
      throw invalid_file("merges[" + std::to_string(merge) + "]: token \"" + shown + "\" is not in the vocabulary");
    }
    return id;
  }

  // Whether a merge makes a token with U+2581 after another character: if none does, text can be cut before each run
  // of U+2581 without changing any id, and short words can be cached.
  void note_marks(std::string_view token) {
    if (spec_.byte_level || crosses_mark_) return;
    size_t at = 0;
    while (token.substr(at, space_mark.size()) == space_mark) at += space_mark.size();
    crosses_mark_ = token.find(space_mark, at) != std::string_view::npos;
  }

  void add_added_tokens() {
    std::vector<AddedToken> raw, normalized;
    for (const SpecAddedToken& token : spec_.added) {
      if (token.id > max_token_id) {
        throw invalid_file("added_tokens: expected ids up to " + std::to_string(max_token_id) + ", got " +
                           std::to_string(token.id));
      }
      std::string search = to_utf8(token.content);
      if (token.normalized) {
        NormalizedText text;
        text.assign(search, 0, false);
        for (const auto& step : normalizer_) step->run(text);
        search = std::move(text.text);
      }
      add_text(token.id, search);  // as the library has it, normalised where the token is
      model_->is_special[token.id] = token.special;
      AddedToken added{search,              token.id,      token.single_word, token.lstrip,
                       token.rstrip,          token.special, token.guarded};
      if (added.content.empty()) continue;  // a normalizer may leave nothing to look for
      (token.normalized ? normalized : raw).push_back(std::move(added));
    }
    model_->raw_added = AddedTokenMatcher(std::move(raw));
    model_->normalized_added = AddedTokenMatcher(std::move(normalized));
  }

  const TokenizerSpec& spec_;
  std::shared_ptr<TokenizerModel> model_;
  ByteAlphabet alphabet_;
  Normalizer normalizer_;
  std::string bytes_;
  bool crosses_mark_ = false;
};

}  // namespace

std::shared_ptr<const TokenizerModel> build_tokenizer(const TokenizerSpec& spec) { return Builder(spec).build(); }

}  // namespace heddle
