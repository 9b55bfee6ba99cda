#include "tokenizer/text/charsmap.h"

#include <algorithm>
#include <cstring>

#include "core/error.h"
#include "tokenizer/text/characters.h"
#include "tokenizer/text/unicode.h"

namespace heddle {
namespace {

using unicode::GraphemeBreak;

// Limits on untrusted maps. The longest of SentencePiece's own rules have a few dozen bytes.
constexpr size_t max_key_bytes = 256, max_text_bytes = 1024;

// Appends the changes that replace old_text[begin, end) by `new_part`. Like in Hugging Face's library, each new
// character replaces one old character. If the text grows, the last old character becomes several new ones. If it
// shrinks, the last new character replaces several old ones.
void replace(
    std::vector<Change>& changes, std::string_view old_text, size_t begin, size_t end, std::string_view new_part) {
  size_t at = begin, next = begin;
  for_each_character(new_part, [&](uint32_t code, size_t, size_t) {
    if (next < end) {
      at = next;
      next += static_cast<size_t>(utf::sequence_length(old_text[at]));
    }
    put(changes, code, at, next - at);
  });
  drop(changes, end);
}

// Applies the changes. If they delete the start of the text, the first word begins after the deleted part, as in
// SentencePiece and in Hugging Face's library.
void transform(NormalizedText& text, const std::vector<Change>& changes) {
  if (text.tracked && !changes.empty() && text.origins[0].begin == text.start) {
    text.start = text.origins[changes[0].begin].begin;
  }
  text.transform(changes);
}

}  // namespace

Charsmap::Charsmap(const std::string& bytes) {
  const auto word = [&](size_t at) {
    uint32_t value = 0;
    for (int i = 3; i >= 0; --i) value = value << 8 | static_cast<uint8_t>(bytes[at + static_cast<size_t>(i)]);
    return value;
  };
  const uint32_t size = bytes.size() < 4 ? 0 : word(0);
  if (bytes.size() < 8 || size < 4 || size % 4 != 0 || size > bytes.size() - 4) {
    throw invalid_file("normalizer.precompiled_charsmap: expected a table size that is a multiple of 4 and fits " +
                       std::to_string(bytes.size()) + " bytes, got " + std::to_string(size));
  }
  units_.resize(size / 4);
  for (size_t i = 0; i < units_.size(); ++i) units_[i] = word(4 + 4 * i);
  texts_ = bytes.substr(4 + size);
  for (size_t begin = 0; begin < texts_.size();) {
    const size_t end = std::min(texts_.find('\0', begin), texts_.size());
    if (end - begin > max_text_bytes) {
      throw invalid_file("normalizer.precompiled_charsmap: expected texts of at most " +
                         std::to_string(max_text_bytes) + " bytes, got " + std::to_string(end - begin));
    }
    begin = end + 1;
  }
  if (!utf::is_well_formed(texts_)) throw invalid_file("normalizer.precompiled_charsmap: expected UTF-8 texts");
}

// Units have the layout of darts-clone's double arrays. Bits 0 to 7 are the byte of the edge that leads to the unit.
// Bit 8 says that a key ends there. Bits 10 to 30 are the offset of the children, times 256 if bit 9 is set. A unit
// with bit 31 is a value.
const char* Charsmap::find(std::string_view part, bool longest, size_t& length) const {
  const auto step = [](uint32_t unit) { return unit >> 10 << ((unit & 1 << 9) >> 6); };
  const char* found = nullptr;
  size_t node = step(units_[0]);
  // A malformed table may contain cycles.
  for (size_t i = 0; i < part.size() && i < max_key_bytes; ++i) {
    const auto byte = static_cast<uint8_t>(part[i]);
    if (byte == 0) return found;
    node ^= byte;
    if (node >= units_.size() || (units_[node] & (1u << 31 | 0xFF)) != byte) return found;
    const uint32_t unit = units_[node];
    node ^= step(unit);
    if ((unit >> 8 & 1) == 0) continue;
    if (node >= units_.size()) return found;
    const size_t at = units_[node] & 0x7FFFFFFF;
    // Ignores malformed entries: a replacement must begin at a character boundary, and a key must end at one.
    const auto starts = [](char c) { return (static_cast<uint8_t>(c) & 0xC0) != 0x80; };
    const bool good = at < texts_.size() && starts(texts_[at]) && (i + 1 == part.size() || starts(part[i + 1]));
    if (good) {
      found = texts_.c_str() + at;
      length = i + 1;
    }
    if (!longest) return found;
  }
  return found;
}

bool Charsmap::may_write(uint32_t first, const std::function<bool(std::string_view)>& holds) const {
  struct Node {
    size_t at, depth;
  };
  const auto step = [](uint32_t unit) { return unit >> 10 << ((unit & 1 << 9) >> 6); };
  // Finds the child node for one more byte. Returns false if it does not exist. `text` receives the replacement of the
  // entry that ends there.
  const auto child = [&](size_t node, uint8_t byte, size_t& next, const char*& text) {
    const size_t at = node ^ byte;
    if (at >= units_.size() || (units_[at] & (1u << 31 | 0xFF)) != byte) return false;
    next = at ^ step(units_[at]);
    text = nullptr;
    if ((units_[at] >> 8 & 1) == 0 || next >= units_.size()) return true;
    const size_t begin = units_[next] & 0x7FFFFFFF;
    if (begin < texts_.size()) text = texts_.c_str() + begin;
    return true;
  };
  std::string key;
  utf::append_code(first, key);
  size_t node = step(units_[0]);
  const char* text = nullptr;
  for (const char c : key) {
    if (!child(node, static_cast<uint8_t>(c), node, text)) return false;
  }
  std::vector<Node> pending{{node, key.size()}};
  constexpr size_t max_nodes = 10'000;  // a malformed table may contain cycles
  for (size_t count = 0; !pending.empty(); ++count) {
    if (count == max_nodes) return true;
    const Node from = pending.back();
    pending.pop_back();
    if (from.depth == max_key_bytes) continue;
    for (int byte = 1; byte < 256; ++byte) {
      size_t next = 0;
      if (!child(from.at, static_cast<uint8_t>(byte), next, text)) continue;
      // Replacements that begin inside a character are never written.
      if (text != nullptr && (static_cast<uint8_t>(*text) & 0xC0) != 0x80 && holds(text)) return true;
      pending.push_back({next, from.depth + 1});
    }
  }
  return false;
}

void Charsmap::run_longest(NormalizedText& text) const {
  std::vector<Change> changes;
  bool modified = false;
  const std::string_view from = text.text;
  for (size_t at = 0; at < from.size();) {
    size_t length = 0;
    if (const char* to = find(from.substr(at), true, length)) {
      modified = true;
      text.check_growth(changes.size());
      replace(changes, from, at, at + length, to);
      at += length;
      continue;
    }
    int size = 0;
    const uint32_t code = utf::decode(from.data() + at, size);
    put(changes, code, at, static_cast<size_t>(size));
    at += static_cast<size_t>(size);
  }
  if (modified) transform(text, changes);
}

void Charsmap::run(NormalizedText& text) const {
  std::vector<Change> changes;
  changes.reserve(text.text.size());
  bool modified = false;
  const std::string_view from = text.text;
  for (size_t at = 0; at < from.size();) {
    const size_t start = at, end = cluster_end(from, at);
    const std::string_view cluster = from.substr(start, end - start);
    at = end;
    size_t length = 0;
    if (cluster.size() < 6) {
      if (const char* to = find(cluster, false, length)) {
        modified = true;
        text.check_growth(changes.size());
        replace(changes, from, start, end, to);
        continue;
      }
    }
    for_each_character(cluster, [&](uint32_t code, size_t begin, size_t size) {
      if (const char* to = find(cluster.substr(begin, size), false, length)) {
        modified = true;
        text.check_growth(changes.size());
        replace(changes, from, start + begin, start + begin + size, to);
      } else {
        put(changes, code, start + begin, size);
      }
    });
  }
  if (modified) transform(text, changes);
}

size_t cluster_end(std::string_view text, size_t at) {
  using B = GraphemeBreak;
  const auto read = [&](size_t from, size_t& next) {
    int size = 0;
    const uint32_t code = utf::decode(text.data() + from, size);
    next = from + static_cast<size_t>(size);
    return static_cast<B>(unicode::breaks()[code]);
  };
  size_t end = 0;
  B before = read(at, end);
  bool pictographic = before == B::pictographic;  // the cluster ends with ExtPict (Extend | ZWJ)*, for rule GB11
  bool odd_regional = before == B::regional;  // the cluster ends with an odd number of regional indicators (GB12, GB13)
  while (end < text.size()) {
    size_t next = 0;
    const B now = read(end, next);
    if (before == B::cr && now == B::lf) return next;
    if (before == B::cr || before == B::lf || before == B::control) return end;
    if (now == B::cr || now == B::lf || now == B::control) return end;
    bool joins = now == B::extend || now == B::zwj || now == B::spacing || before == B::prepend;
    joins = joins || (before == B::l && (now == B::l || now == B::v || now == B::lv || now == B::lvt));
    joins = joins || ((before == B::lv || before == B::v) && (now == B::v || now == B::t));
    joins = joins || ((before == B::lvt || before == B::t) && now == B::t);
    joins = joins || (before == B::zwj && pictographic && now == B::pictographic);
    joins = joins || (before == B::regional && odd_regional && now == B::regional);
    if (!joins) return end;
    odd_regional = now == B::regional && !(before == B::regional && odd_regional);
    if (now == B::pictographic) pictographic = true;
    else if (now != B::extend && now != B::zwj) pictographic = false;
    before = now;
    end = next;
  }
  return end;
}

}  // namespace heddle
