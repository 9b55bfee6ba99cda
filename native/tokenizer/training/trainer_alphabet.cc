// Chooses the characters that a character vocabulary starts with.
#include <algorithm>
#include <unordered_map>

#include "core/error.h"
#include "tokenizer/training/trainer.h"
#include "tokenizer/text/utf.h"

namespace heddle {

std::vector<uint32_t> choose_alphabet(const WordCounts& words, const AlphabetOptions& options) {
  std::unordered_map<uint32_t, uint64_t> counts;
  uint64_t total = 0;
  for (const WordCounts::Word& word : words.words()) {
    const char* p = words.bytes().data() + word.begin;
    for (const char* end = p + word.length; p < end;) {
      int size = 0;
      counts[utf::decode(p, size)] += word.count;
      total += word.count;
      p += size;
    }
  }
  std::vector<std::pair<uint32_t, uint64_t>> order(counts.begin(), counts.end());
  std::sort(order.begin(), order.end(),
      [](const auto& a, const auto& b) { return a.second != b.second ? a.second > b.second : a.first < b.first; });
  std::vector<uint32_t> alphabet;
  uint64_t covered = 0;
  for (const auto& [code, count] : order) {
    if (alphabet.size() >= options.limit || count < options.min_count) break;
    if (static_cast<double>(covered) >= options.coverage * static_cast<double>(total)) break;
    covered += count;
    alphabet.push_back(code);
  }
  return alphabet;
}

SymbolWords to_symbols(const WordCounts& words, const AlphabetOptions& options) {
  SymbolWords out;
  out.subword_prefix = options.subword_prefix;
  // The symbol of each character, at the start of a word and after the start.
  std::unordered_map<uint32_t, uint32_t> first, later;
  for (const uint32_t code : choose_alphabet(words, options)) {
    first.emplace(code, static_cast<uint32_t>(out.alphabet.size()));
    out.alphabet.emplace_back();
    utf::append_code(code, out.alphabet.back());
  }
  const bool decorated = !options.subword_prefix.empty();
  const size_t plain = out.alphabet.size();
  for (size_t i = 0; decorated && i < plain; ++i) {
    out.alphabet.push_back(options.subword_prefix + out.alphabet[i]);
  }
  for (const WordCounts::Word& word : words.words()) {
    const char* begin = words.bytes().data() + word.begin;
    const char* end = begin + word.length;
    size_t from = out.symbols.size();
    const auto close = [&] {
      if (out.symbols.size() - from > 1) {
        out.words.push_back(
            {static_cast<uint32_t>(from), static_cast<uint32_t>(out.symbols.size() - from), word.count});
      } else {
        out.symbols.resize(from);  // nothing to merge
      }
      from = out.symbols.size();
    };
    for (const char* p = begin; p < end;) {
      int size = 0;
      const auto found = first.find(utf::decode(p, size));
      if (found == first.end()) close();
      else out.symbols.push_back(found->second + static_cast<uint32_t>(decorated && p > begin ? plain : 0));
      p += size;
    }
    close();
  }
  return out;
}

}  // namespace heddle
