#include "tokenizer/json_vocabulary.h"

#include <cstring>

#include "tokenizer/utf.h"
#include "tokenizer/vocab.h"

namespace heddle {
namespace {

constexpr size_t most_token_units = 1 << 16;

uint64_t hash_of(std::u16string_view text) { return hash_bytes(reinterpret_cast<const char*>(text.data()), 2 * text.size()); }

// Every function returns false where the text is not what it reads.
class Reader {
 public:
  explicit Reader(std::string_view json) : at_(json.data()), end_(json.data() + json.size()) {}

  const char* place() const { return at_; }
  void skip_space() {
    while (at_ < end_ && (*at_ == ' ' || *at_ == '\n' || *at_ == '\r' || *at_ == '\t')) ++at_;
  }
  bool take(char c) {
    skip_space();
    if (at_ == end_ || *at_ != c) return false;
    ++at_;
    return true;
  }
  bool is_next(char c) {
    skip_space();
    return at_ < end_ && *at_ == c;
  }

  // Appends a string. No lone surrogates.
  bool string(std::u16string& out) {
    if (!take('"')) return false;
    while (at_ < end_) {
      const auto c = static_cast<uint8_t>(*at_);
      if (c == '"') {
        ++at_;
        return true;
      }
      if (c < 0x20) return false;
      if (c == '\\') {
        if (!escape(out)) return false;
      } else if (c < 0x80) {
        out += static_cast<char16_t>(c);
        ++at_;
      } else if (!character(out)) {
        return false;
      }
    }
    return false;
  }

  bool number(uint32_t& out) {
    skip_space();
    const char* begin = at_;
    uint64_t value = 0;
    while (at_ < end_ && *at_ >= '0' && *at_ <= '9' && at_ - begin < 9) value = 10 * value + static_cast<uint64_t>(*at_++ - '0');
    if (at_ == begin || (*begin == '0' && at_ - begin > 1)) return false;
    if (at_ == end_ || (*at_ >= '0' && *at_ <= '9') || *at_ == '.' || *at_ == 'e' || *at_ == 'E') return false;
    out = static_cast<uint32_t>(value);
    return true;
  }

  // Any value; what is wrong inside it does not show.
  bool skip_value() {
    skip_space();
    int depth = 0;
    do {
      skip_space();
      if (at_ == end_) return false;
      if (*at_ == '"') {
        if (!skip_string()) return false;
      } else {
        if (*at_ == '{' || *at_ == '[') ++depth;
        if (*at_ == '}' || *at_ == ']') --depth;
        if (depth < 0) return false;
        ++at_;
      }
    } while (depth > 0 || (at_ < end_ && !std::strchr(",}] \n\r\t", *at_)));
    return true;
  }

 private:
  bool skip_string() {
    for (++at_; at_ < end_; ++at_) {
      if (*at_ == '"') {
        ++at_;
        return true;
      }
      if (*at_ == '\\' && ++at_ == end_) return false;
    }
    return false;
  }

  bool character(std::u16string& out) {
    int skip = 0;
    const int size = utf::character_length(at_, static_cast<size_t>(end_ - at_), skip);
    if (size == 0) return false;
    int same = 0;
    uint32_t code = utf::decode(at_, same);
    at_ += size;
    if (code >= 0x10000) {
      code -= 0x10000;
      out += static_cast<char16_t>(0xD800 + (code >> 10));
      code = 0xDC00 + (code & 0x3FF);
    }
    out += static_cast<char16_t>(code);
    return true;
  }

  bool hex(uint32_t& out) {
    if (end_ - at_ < 4) return false;
    out = 0;
    for (int i = 0; i < 4; ++i) {
      const char c = *at_++;
      const int digit = c >= '0' && c <= '9'   ? c - '0'
                        : c >= 'a' && c <= 'f' ? c - 'a' + 10
                        : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                               : -1;
      if (digit < 0) return false;
      out = out << 4 | static_cast<uint32_t>(digit);
    }
    return true;
  }

  bool escape(std::u16string& out) {
    if (end_ - at_ < 2) return false;
    ++at_;
    const char c = *at_++;
    if (c == 'u') {
      uint32_t unit = 0;
      if (!hex(unit) || (unit & 0xFC00) == 0xDC00) return false;
      out += static_cast<char16_t>(unit);
      if ((unit & 0xFC00) != 0xD800) return true;
      uint32_t second = 0;
      if (end_ - at_ < 2 || at_[0] != '\\' || at_[1] != 'u') return false;
      at_ += 2;
      if (!hex(second) || (second & 0xFC00) != 0xDC00) return false;
      out += static_cast<char16_t>(second);
      return true;
    }
    static const char from[] = "\"\\/bfnrt";
    static const char to[] = "\"\\/\b\f\n\r\t";
    const char* found = std::strchr(from, c);
    if (c == '\0' || found == nullptr) return false;
    out += static_cast<char16_t>(to[found - from]);
    return true;
  }

  const char* at_;
  const char* end_;
};

bool read_tokens(Reader& in, JsonVocabulary& out) {
  if (!in.take('{')) return false;
  if (in.take('}')) return true;
  do {
    const size_t begin = out.tokens.size();
    uint32_t id = 0;
    if (!in.string(out.tokens) || !in.take(':') || !in.number(id) || id > max_token_id) return false;
    if (out.tokens.size() - begin > most_token_units || out.token_ids.size() > max_token_id) return false;
    out.token_lengths.push_back(static_cast<uint32_t>(out.tokens.size() - begin));
    out.token_ids.push_back(id);
  } while (in.take(','));
  return in.take('}');
}

bool read_merges(Reader& in, JsonVocabulary& out) {
  if (!in.take('[')) return false;
  if (in.take(']')) return true;
  const auto add = [&](size_t length) { out.merge_lengths.push_back(static_cast<uint32_t>(length)); };
  do {
    const size_t begin = out.merges.size();
    if (in.is_next('[')) {
      (void)in.take('[');
      if (!in.string(out.merges) || !in.take(',')) return false;
      const size_t middle = out.merges.size();
      if (!in.string(out.merges) || !in.take(']')) return false;
      add(middle - begin);
      add(out.merges.size() - middle);
      continue;
    }
    if (!in.string(out.merges)) return false;
    const size_t space = out.merges.find(u' ', begin);
    if (space == std::u16string::npos || space == begin || space + 1 == out.merges.size()) return false;
    if (out.merges.find(u' ', space + 1) != std::u16string::npos) return false;
    out.merges.erase(space, 1);
    add(space - begin);
    add(out.merges.size() - space);
  } while (in.take(','));
  return in.take(']');
}

// Calls member(key) at each value of an object, which has to read it.
template <class F>
bool read_object(Reader& in, F&& member) {
  if (!in.take('{')) return false;
  if (in.take('}')) return true;
  std::u16string key;
  do {
    key.clear();
    if (!in.string(key) || !in.take(':') || !member(key)) return false;
  } while (in.take(','));
  return in.take('}');
}

}  // namespace

std::unique_ptr<const JsonVocabulary> read_json_vocabulary(std::string_view json) {
  auto out = std::make_unique<JsonVocabulary>();
  Reader in(json);
  const char* copied = json.data();  // up to here, to rest
  int models = 0, vocabularies = 0, lists = 0;
  const auto replace = [&](const char* begin, const char* with) {
    out->rest.append(copied, begin);
    out->rest += with;
    copied = in.place();
  };
  const auto in_model = [&](const std::u16string& key) {
    in.skip_space();
    const char* begin = in.place();
    if (key == u"vocab") {
      if (++vocabularies > 1 || !read_tokens(in, *out)) return false;
      replace(begin, "{}");
      return true;
    }
    if (key == u"merges") {
      if (++lists > 1 || !read_merges(in, *out)) return false;
      replace(begin, "[]");
      return true;
    }
    return in.skip_value();
  };
  const auto at_top = [&](const std::u16string& key) {
    if (key != u"model") return in.skip_value();
    return ++models == 1 && read_object(in, in_model);
  };
  if (!read_object(in, at_top) || vocabularies != 1 || lists != 1) return nullptr;
  out->rest.append(copied, json.data() + json.size());
  return out->index() ? std::move(out) : nullptr;
}

bool JsonVocabulary::index() {
  size_t capacity = 1024;
  while (capacity < 2 * token_ids.size()) capacity *= 2;
  slots_.assign(capacity, UINT32_MAX);
  size_t begin = 0;
  begins_.reserve(token_ids.size());
  for (uint32_t i = 0; i < token_ids.size(); ++i) {
    const std::u16string_view token(tokens.data() + begin, token_lengths[i]);
    begins_.push_back(begin);
    begin += token_lengths[i];
    size_t slot = hash_of(token) & (capacity - 1);
    for (; slots_[slot] != UINT32_MAX; slot = (slot + 1) & (capacity - 1)) {
      const uint32_t other = slots_[slot];
      if (std::u16string_view(tokens.data() + begins_[other], token_lengths[other]) == token) return false;
    }
    slots_[slot] = i;
  }
  return true;
}

uint32_t JsonVocabulary::find(std::u16string_view token) const {
  const size_t mask = slots_.size() - 1;
  for (size_t slot = hash_of(token) & mask; slots_[slot] != UINT32_MAX; slot = (slot + 1) & mask) {
    const uint32_t i = slots_[slot];
    if (std::u16string_view(tokens.data() + begins_[i], token_lengths[i]) == token) return token_ids[i];
  }
  return UINT32_MAX;
}

}  // namespace heddle
