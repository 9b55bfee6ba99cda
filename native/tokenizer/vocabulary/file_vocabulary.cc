#include "tokenizer/vocabulary/file_vocabulary.h"

#include <algorithm>
#include <cstring>
#include <unordered_map>

#include "tokenizer/hash_bytes.h"
#include "tokenizer/vocabulary/json_reader.h"
#include "tokenizer/text/utf.h"
#include "tokenizer/vocabulary/vocab.h"

namespace heddle {
namespace {

// The same number as limits.tokenLength of lib/tokenizer, which counts UTF-16 units. A text has at most as many UTF-16
// units as bytes of UTF-8. A token within this limit is therefore also within the limit of lib/tokenizer.
constexpr size_t max_token_bytes = 1 << 16;

constexpr size_t max_values = 1 << 20;  // same as limits.jsonValues of lib/tokenizer
constexpr int max_depth = 64;           // same as MAX_DEPTH of lib/io/json.ts

bool read_tokens(JsonReader& in, VocabularyTexts& out) {
  if (!in.take('{')) return false;
  if (in.take('}')) return true;
  out.tokens.room(in.left() / 4);  // memory costs nothing until it is written
  do {
    const size_t begin = out.tokens.size();
    uint32_t id = 0;
    if (!in.string(out.tokens) || !in.take(':') || !in.number(id) || id > max_token_id) return false;
    const size_t length = out.tokens.size() - begin;
    if (length > max_token_bytes || out.token_ids.size() > max_token_id) return false;
    out.token_lengths.push_back(static_cast<uint32_t>(length));
    out.token_ids.push_back(id);
  } while (in.take(','));
  return in.take('}');
}

// Reads Unigram's pairs of a token and its score, in the order of ids.
bool read_pieces(JsonReader& in, VocabularyTexts& out) {
  if (!in.take('[')) return false;
  if (in.take(']')) return true;
  out.tokens.room(in.left() / 4);
  do {
    const size_t begin = out.tokens.size();
    double score = 0;
    if (!in.take('[') || !in.string(out.tokens) || !in.take(',') || !in.real(score) || !in.take(']')) return false;
    const size_t length = out.tokens.size() - begin;
    if (length > max_token_bytes || out.token_ids.size() > max_token_id) return false;
    out.token_lengths.push_back(static_cast<uint32_t>(length));
    out.token_ids.push_back(static_cast<uint32_t>(out.token_ids.size()));
    out.scores.push_back(score);
  } while (in.take(','));
  return in.take(']');
}

// Splits the merge "left right" that begins at `begin` in out.merges, and removes the space. Returns false unless there
// is exactly one space, between two nonempty parts.
bool cut_merge(VocabularyTexts& out, size_t begin) {
  const size_t size = out.merges.size() - begin;
  char* const text = out.merges.room(AsciiBlock::size) - size;  // makes one block readable after the text
  size_t left, right;
  if (size <= AsciiBlock::size) {  // most merges
    const uint32_t spaces = AsciiBlock(text).equal(' ') & ((1u << size) - 1);
    if (spaces == 0 || (spaces & (spaces - 1)) != 0) return false;
    left = static_cast<size_t>(lowest_bit(spaces));
    right = size - left - 1;
    char block[AsciiBlock::size];
    std::memcpy(block, text + left + 1, AsciiBlock::size - 1);
    std::memcpy(text + left, block, AsciiBlock::size - 1);
  } else {
    char* const space = static_cast<char*>(std::memchr(text, ' ', size));
    if (space == nullptr) return false;
    left = static_cast<size_t>(space - text);
    right = size - left - 1;
    if (std::memchr(space + 1, ' ', right) != nullptr) return false;
    std::memmove(space, space + 1, right);
  }
  if (left == 0 || right == 0) return false;
  out.merges.shorten(out.merges.size() - 1);
  out.merge_lengths.push_back(static_cast<uint32_t>(left));
  out.merge_lengths.push_back(static_cast<uint32_t>(right));
  return true;
}

bool read_merges(JsonReader& in, VocabularyTexts& out) {
  if (!in.take('[')) return false;
  if (in.take(']')) return true;
  out.merges.room(in.left() / 2);
  do {
    const size_t begin = out.merges.size();
    if (!in.is_next('[')) {
      if (!in.string(out.merges) || out.merges.size() - begin > 2 * max_token_bytes || !cut_merge(out, begin))
        return false;
      continue;
    }
    (void)in.take('[');
    if (!in.string(out.merges) || !in.take(',')) return false;
    const size_t middle = out.merges.size();
    if (!in.string(out.merges) || !in.take(']')) return false;
    if (out.merges.size() - begin > 2 * max_token_bytes) return false;
    out.merge_lengths.push_back(static_cast<uint32_t>(middle - begin));
    out.merge_lengths.push_back(static_cast<uint32_t>(out.merges.size() - middle));
  } while (in.take(','));
  return in.take(']');
}

// Whether JavaScript may parse the text: it is UTF-8, and neither its nesting nor its number of values exceeds a limit.
bool is_parsable(std::string_view rest) {
  JsonReader in(rest);
  return in.skip_value(max_depth) && in.skipped_values() < max_values && utf::is_well_formed(rest);
}

// Calls member(key) at each value of an object. `member` must read the value.
template <class F> bool read_object(JsonReader& in, F&& member) {
  if (!in.take('{')) return false;
  if (in.take('}')) return true;
  TextBuffer key;
  do {
    key.clear();
    if (!in.string(key) || !in.take(':') || !member(key.view())) return false;
  } while (in.take(','));
  return in.take('}');
}

}  // namespace

std::unique_ptr<const FileVocabulary> read_json_vocabulary(std::string_view json) {
  auto out = std::make_unique<FileVocabulary>();
  JsonReader in(json);
  const char* copied = json.data();  // end of the part that has been copied to `rest`
  int models = 0, vocabularies = 0, merge_lists = 0;
  const auto replace = [&](const char* begin, const char* with) {
    out->rest.append(copied, begin);
    out->rest += with;
    copied = in.place();
  };
  const auto in_model = [&](std::string_view key) {
    in.skip_space();
    const char* begin = in.place();
    if (key == "vocab") {
      const bool is_list = in.is_next('[');
      if (++vocabularies > 1 || !(is_list ? read_pieces(in, out->texts) : read_tokens(in, out->texts))) return false;
      replace(begin, is_list ? "[]" : "{}");
      return true;
    }
    if (key == "merges") {
      if (++merge_lists > 1 || !read_merges(in, out->texts)) return false;
      replace(begin, "[]");
      return true;
    }
    return in.skip_value(max_depth);
  };
  const auto at_top = [&](std::string_view key) {
    if (key != "model") return in.skip_value(max_depth);
    return ++models == 1 && read_object(in, in_model);
  };
  if (!read_object(in, at_top) || vocabularies != 1) return nullptr;
  out->rest.append(copied, json.data() + json.size());
  return is_parsable(out->rest) && out->index() ? std::move(out) : nullptr;
}

void FileVocabulary::place_tokens() {
  begins_.room(size() / begin_step + 1);
  uint32_t begin = 0;
  for (size_t i = 0; i < size(); ++i) {
    if (i % begin_step == 0) begins_.push_back(begin);
    begin += texts.token_lengths[i];
  }
}

bool FileVocabulary::index() {
  place_tokens();
  if (!fill_slots(false)) return false;
  is_indexed_ = size() <= max_kept;
  if (!is_indexed_) slots_.reset();
  return true;
}

bool FileVocabulary::fill_slots(bool may_repeat) const {
  const size_t count = size();
  size_t capacity = 1024;
  while (capacity < 2 * count) capacity *= 2;
  mask_ = capacity - 1;
  slots_ = std::make_unique<ZeroTable<TokenSlot>>(capacity);
  constexpr size_t at_once = 64;  // overlaps the latencies of table lookups
  uint64_t hashes[at_once];
  size_t begin = 0;
  for (size_t first = 0; first < count; first += at_once) {
    const size_t end = std::min(count, first + at_once);
    std::string_view tokens[at_once];
    for (size_t i = first; i < end; ++i) {
      tokens[i - first] = texts.tokens.view().substr(begin, texts.token_lengths[i]);
      begin += texts.token_lengths[i];
      hashes[i - first] = hash_bytes(tokens[i - first]);
      __builtin_prefetch(&(*slots_)[hashes[i - first] & mask_], 1);
    }
    for (size_t i = first; i < end; ++i) {
      const uint64_t hash = hashes[i - first];
      size_t slot = hash & mask_;
      bool is_new = true;
      for (; is_new && !(*slots_)[slot].is_free(); slot = (slot + 1) & mask_) {
        is_new = !(*slots_)[slot].may_be(hash) || token((*slots_)[slot].token()) != tokens[i - first];
      }
      if (is_new) {
        (*slots_)[slot] = TokenSlot::of(static_cast<uint32_t>(i), hash);
      } else if (!may_repeat) {
        return false;
      }
    }
  }
  return true;
}

bool FileVocabulary::check() {
  if (!is_parsable(rest)) return false;
  const size_t count = texts.token_ids.size();
  // A call of token() sums the lengths of the tokens since the last entry of begins_. Merges look up many tokens, so
  // this function lists where every token begins.
  IdBuffer begins;
  uint32_t* const begin = begins.room(count);
  uint64_t total = 0;
  for (size_t i = 0; i < count; ++i) {
    begin[i] = static_cast<uint32_t>(total);
    total += texts.token_lengths[i];
    if (texts.token_lengths[i] > max_token_bytes || texts.token_ids[i] > max_token_id || total > texts.tokens.size())
      return false;
  }
  if (total != texts.tokens.size()) return false;
  if (!utf::is_well_formed(texts.tokens.view())) return false;
  for (size_t i = 0; i < count; ++i) {  // a token must not begin inside a character
    if (texts.token_lengths[i] > 0 && (texts.tokens.data()[begin[i]] & 0xC0) == 0x80) return false;
  }
  const auto text_of = [&](uint32_t number) {
    return std::string_view(texts.tokens.data() + begin[number], texts.token_lengths[number]);
  };
  for (size_t i = 0; i < texts.merge_tokens.size(); i += 3) {
    const uint32_t* numbers = texts.merge_tokens.data() + i;
    if (numbers[0] >= count || numbers[1] >= count || numbers[2] >= count) return false;
    const std::string_view left = text_of(numbers[0]), right = text_of(numbers[1]), made = text_of(numbers[2]);
    if (left.empty() || right.empty() || made.size() != left.size() + right.size()) return false;
    if (made.substr(0, left.size()) != left || made.substr(left.size()) != right) return false;
  }
  place_tokens();
  return true;
}

uint32_t FileVocabulary::find(std::string_view wanted) const {
  const uint32_t number = number_of(wanted);
  return number == UINT32_MAX ? number : texts.token_ids[number];
}

std::vector<uint32_t> FileVocabulary::find_all(const std::vector<std::string>& wanted) const {
  std::vector<uint32_t> ids;
  if (is_indexed_ || wanted.size() <= 1) {
    for (const std::string& token : wanted) ids.push_back(find(token));
    return ids;
  }
  std::unordered_map<std::string_view, uint32_t> found;
  // has_length[n]: whether a wanted token has n bytes. Tokens of other lengths are skipped without hashing.
  std::vector<bool> has_length;
  for (const std::string& token : wanted) {
    found.emplace(token, UINT32_MAX);
    if (has_length.size() <= token.size()) has_length.resize(token.size() + 1);
    has_length[token.size()] = true;
  }
  size_t begin = 0;
  for (size_t i = 0; i < size(); begin += texts.token_lengths[i++]) {
    const size_t length = texts.token_lengths[i];
    if (length >= has_length.size() || !has_length[length]) continue;
    const auto at = found.find(texts.tokens.view().substr(begin, length));
    if (at != found.end() && at->second == UINT32_MAX) at->second = texts.token_ids[i];
  }
  for (const std::string& token : wanted) ids.push_back(found[token]);
  return ids;
}

uint32_t FileVocabulary::scan(std::string_view wanted) const {
  size_t begin = 0;
  for (uint32_t i = 0; i < size(); begin += texts.token_lengths[i++])
    if (texts.tokens.view().substr(begin, texts.token_lengths[i]) == wanted) return i;
  return UINT32_MAX;
}

uint32_t FileVocabulary::number_of(std::string_view wanted) const {
  if (!is_indexed_ && scans_ < max_scans && scans_++ < max_scans) return scan(wanted);
  std::call_once(slots_once_, [this] {
    if (slots_ == nullptr) (void)fill_slots(true);
  });
  const uint64_t hash = hash_bytes(wanted);
  for (size_t slot = hash & mask_; !(*slots_)[slot].is_free(); slot = (slot + 1) & mask_) {
    const uint32_t number = (*slots_)[slot].token();
    if ((*slots_)[slot].may_be(hash) && token(number) == wanted) return number;
  }
  return UINT32_MAX;
}

}  // namespace heddle
