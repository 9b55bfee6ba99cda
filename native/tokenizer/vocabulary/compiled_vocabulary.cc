#include "tokenizer/vocabulary/compiled_vocabulary.h"

#include <cstring>

#include "tokenizer/hash_bytes.h"
#include "tokenizer/vocabulary/vocab.h"

namespace heddle {
namespace {

constexpr char magic[8] = {'h', 'e', 'd', 'd', 'l', 'e', '.', 'v'};
constexpr uint64_t version = 1;

struct Counts {
  uint64_t tokens, token_bytes, merges, rest;
};

struct Hash {
  uint64_t a, b;
};

// A 128-bit hash that is the same in every process.
Hash content_hash(std::string_view text) {
  using hash_detail::fold;
  using hash_detail::load;
  constexpr uint64_t k0 = 0xA0761D6478BD642FULL, k1 = 0xE7037ED1A0B428DBULL, k2 = 0x8EBC6AF09C88C6E3ULL,
                     k3 = 0x589965CC75374CC3ULL;
  const char* at = text.data();
  size_t left = text.size();
  uint64_t lanes[4] = {k0 ^ left, k1 + left, k2 ^ left, k3 + left};
  const auto mix = [&](const char* bytes) {
    uint64_t words[4];
    for (int i = 0; i < 4; ++i) words[i] = load<uint64_t>(bytes + 8 * i);
    // Each word enters two lanes. If a zero factor cancels the word in one lane, the other lane still depends on it.
    for (int i = 0; i < 4; ++i) lanes[i] = fold(lanes[i] ^ words[i], k0 ^ words[(i + 1) & 3]) + k3;
  };
  for (; left >= 32; left -= 32, at += 32) mix(at);
  char last[32] = {};
  if (left > 0) std::memcpy(last, at, left);
  mix(last);
  return {fold(lanes[0] ^ k2, lanes[1] ^ k1) ^ lanes[2], fold(lanes[2] ^ k1, lanes[3] ^ k2) ^ lanes[0]};
}

struct Header {
  char magic[8];
  uint64_t version, zero;
  uint64_t source_size;
  Hash source;
  uint64_t body_size;
  Hash body;
};
static_assert(sizeof(Header) == 72);

void append(std::string& out, const void* bytes, size_t size) {
  if (size > 0) out.append(static_cast<const char*>(bytes), size);
}
void append(std::string& out, const IdBuffer& numbers) {
  append(out, numbers.data(), numbers.size() * sizeof(uint32_t));
}

// Takes parts from the front of a body whose size has been checked.
class Body {
 public:
  explicit Body(std::string_view bytes) : bytes_(bytes) {}
  std::string_view take(uint64_t size) {
    const std::string_view part = bytes_.substr(0, size);
    bytes_.remove_prefix(size);
    return part;
  }
  void take(uint64_t count, IdBuffer& out) {
    const std::string_view part = take(count * sizeof(uint32_t));
    if (count > 0) std::memcpy(out.room(count), part.data(), part.size());
    out.took(count);
  }

 private:
  std::string_view bytes_;
};

bool fits(const Counts& counts, size_t size) {
  const uint64_t most = size;
  if (counts.tokens > max_token_id || counts.merges > MergeTable::max_rank || counts.token_bytes > most ||
      counts.rest > most)
    return false;
  return sizeof(Counts) + 8 * counts.tokens + 12 * counts.merges + counts.token_bytes + counts.rest == most;
}

}  // namespace

std::string seal_compiled_body(std::string_view body, std::string_view source) {
  Header header = {{}, version, 0, source.size(), content_hash(source), body.size(), content_hash(body)};
  std::memcpy(header.magic, magic, sizeof(magic));
  std::string out;
  out.reserve(sizeof(header) + body.size());
  append(out, &header, sizeof(header));
  append(out, body.data(), body.size());
  return out;
}

std::string compile_vocabulary(const FileVocabulary& vocabulary, std::string_view source) {
  const VocabularyTexts& texts = vocabulary.texts;
  if (!texts.merge_tokens.empty()) return {};  // compiled already
  IdBuffer merges;
  size_t at = 0;
  const std::string_view parts = texts.merges.view();
  for (size_t i = 0; i < texts.merge_lengths.size(); i += 2) {
    const size_t left = texts.merge_lengths[i], right = texts.merge_lengths[i + 1];
    for (const std::string_view part :
        {parts.substr(at, left), parts.substr(at + left, right), parts.substr(at, left + right)}) {
      const uint32_t number = vocabulary.number_of(part);
      if (number == no_token) return {};
      merges.push_back(number);
    }
    at += left + right;
  }
  const Counts counts = {texts.token_ids.size(), texts.tokens.size(), merges.size() / 3, vocabulary.rest.size()};
  std::string body;
  append(body, &counts, sizeof(counts));
  append(body, texts.token_lengths);
  append(body, texts.token_ids);
  append(body, merges);
  append(body, texts.tokens.data(), texts.tokens.size());
  append(body, vocabulary.rest.data(), vocabulary.rest.size());
  return seal_compiled_body(body, source);
}

std::unique_ptr<const FileVocabulary> read_compiled_vocabulary(std::string_view file, std::string_view source) {
  Header header;
  Counts counts;
  if (file.size() < sizeof(Header) + sizeof(Counts)) return nullptr;
  std::memcpy(&header, file.data(), sizeof(header));
  const std::string_view bytes = file.substr(sizeof(header));
  const auto equal = [](Hash x, Hash y) { return x.a == y.a && x.b == y.b; };
  if (std::memcmp(header.magic, magic, sizeof(magic)) != 0 || header.version != version || header.zero != 0)
    return nullptr;
  if (header.source_size != source.size() || header.body_size != bytes.size()) return nullptr;
  if (!equal(header.body, content_hash(bytes)) || !equal(header.source, content_hash(source))) return nullptr;
  std::memcpy(&counts, bytes.data(), sizeof(counts));
  if (!fits(counts, bytes.size())) return nullptr;

  auto out = std::make_unique<FileVocabulary>();
  VocabularyTexts& texts = out->texts;
  Body body(bytes.substr(sizeof(counts)));
  body.take(counts.tokens, texts.token_lengths);
  body.take(counts.tokens, texts.token_ids);
  body.take(3 * counts.merges, texts.merge_tokens);
  texts.tokens.append(body.take(counts.token_bytes));
  out->rest = body.take(counts.rest);
  return out->check() ? std::move(out) : nullptr;
}

}  // namespace heddle
